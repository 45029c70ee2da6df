/// @file progress.h
/// A progress bar on standard error, drawn only when that is a terminal.
#pragma once

#include <stdbool.h>
#include <stdint.h>

/// A bar. Zero-initialised it draws nothing.
typedef struct progress {
    bool is_shown;          ///< Standard error is a terminal and the bar is wanted.
    uint64_t last_drawn_ns; ///< Private: drawn at most every 50 ms.
} progress;

/// A bar that is shown when standard error is a terminal.
progress progress_make(void);

/// Shows `done` of `total` (0: nothing is known) with a label. Cheap to call often.
void progress_show(progress *bar, const char *label, uint64_t done, uint64_t total);

/// Removes the bar from the screen.
void progress_clear(progress *bar);
