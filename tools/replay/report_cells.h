/// @file report_cells.h
/// The cells of tables: numbers with units, for people.
#pragma once

#include <stddef.h>

enum { CELL_BYTES = 40 };

/// What a number is.
typedef enum cell_unit { UNIT_TIME, UNIT_RATE, UNIT_BYTES, UNIT_COUNT } cell_unit;

/// "1.23 us", "16.2 M/s", "3.50 MiB", "1,234"; NAN is "-". Times are nanoseconds, rates are per
/// second.
void format_cell(char *buffer, size_t size, cell_unit unit, double value);

/// 1234567 as "1,234,567".
void format_count(char *buffer, size_t size, double value);

/// "3.50 MiB".
void format_bytes(char *buffer, size_t size, double bytes);

/// `value` over `base`: "0.55", "100" or more without decimals; "-" where there is none.
void format_ratio(char *buffer, size_t size, double base, double value);
