// Numbers as the tables show them: three digits that count, and a unit.

#include "report_cells.h"

#include <math.h>
#include <stdio.h>

// "1234567" as "1,234,567".
void format_count(char *buffer, size_t size, double value) {
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%.0f", value);
    size_t used = 0;
    for (int i = 0; i < length && used + 2 < size; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            buffer[used++] = ',';
        }
        buffer[used++] = digits[i];
    }
    buffer[used] = '\0';
}

// Three digits that count: 1.23, 12.3, 123.
static void format_scaled(char *buffer, size_t size, double value, const char *suffix) {
    int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(buffer, size, "%.*f %s", decimals, value, suffix);
}

static void format_time(char *buffer, size_t size, double ns) {
    if (ns < 999.5) {
        snprintf(buffer, size, "%.0f ns", ns);
    } else if (ns < 999.5e3) {
        format_scaled(buffer, size, ns / 1e3, "us");
    } else if (ns < 999.5e6) {
        format_scaled(buffer, size, ns / 1e6, "ms");
    } else {
        format_scaled(buffer, size, ns / 1e9, "s");
    }
}

void format_bytes(char *buffer, size_t size, double bytes) {
    if (bytes < 1024.0) {
        snprintf(buffer, size, "%.0f B", bytes);
    } else if (bytes < 1024.0 * 1024.0) {
        format_scaled(buffer, size, bytes / 1024.0, "KiB");
    } else if (bytes < 1024.0 * 1024.0 * 1024.0) {
        format_scaled(buffer, size, bytes / (1024.0 * 1024.0), "MiB");
    } else {
        format_scaled(buffer, size, bytes / (1024.0 * 1024.0 * 1024.0), "GiB");
    }
}

void format_cell(char *buffer, size_t size, cell_unit unit, double value) {
    if (isnan(value)) {
        snprintf(buffer, size, "-");
        return;
    }
    switch (unit) {
    case UNIT_TIME:
        format_time(buffer, size, value);
        break;
    case UNIT_RATE:
        format_scaled(buffer, size, value / 1e6, "M/s");
        break;
    case UNIT_BYTES:
        format_bytes(buffer, size, value);
        break;
    case UNIT_COUNT:
        format_count(buffer, size, value);
        break;
    }
}

void format_ratio(char *buffer, size_t size, double base, double value) {
    if (isnan(base) || isnan(value) || (base <= 0.0 && value > 0.0)) {
        snprintf(buffer, size, "-");
    } else if (base <= 0.0) {
        snprintf(buffer, size, "1.00");
    } else {
        snprintf(buffer, size, "%.*f", value / base < 99.995 ? 2 : 0, value / base);
    }
}
