// One line, drawn over itself with a carriage return:
//
//   [##########..........]  50%  malloc, run 2 of 5

#include "progress.h"

#include "clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_CELLS = 30, REDRAW_NS = 50 * 1000 * 1000, LABEL_WIDTH = 40 };

progress progress_make(void) {
    return (progress){.is_shown = isatty(STDERR_FILENO) == 1};
}

void progress_show(progress *bar, const char *label, uint64_t done, uint64_t total) {
    if (!bar->is_shown) {
        return;
    }
    int percent = 0;
    if (total > 0) {
        double share = (double)done / (double)total;
        percent = (int)(share >= 1.0 ? 100.0 : share * 100.0);
    }
    uint64_t now = clock_ns();
    if (bar->last_drawn_ns != 0 && now - bar->last_drawn_ns < REDRAW_NS) {
        return;
    }
    bar->last_drawn_ns = now;
    char cells[BAR_CELLS + 1];
    int full = percent * BAR_CELLS / 100;
    memset(cells, '.', BAR_CELLS);
    memset(cells, '#', (size_t)full);
    cells[BAR_CELLS] = '\0';
    fprintf(stderr, "\r[%s] %3d%%  %-*.*s", cells, percent, LABEL_WIDTH, LABEL_WIDTH, label);
    fflush(stderr);
}

void progress_clear(progress *bar) {
    if (bar->is_shown && bar->last_drawn_ns != 0) {
        fprintf(stderr, "\r%*s\r", BAR_CELLS + LABEL_WIDTH + 10, "");
        fflush(stderr);
    }
    bar->last_drawn_ns = 0;
}
