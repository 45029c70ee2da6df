// What pools and the heap must reach, and whether they do.
#pragma once

#include "objects.h"

#include <stdio.h>

// A line per criterion: "criterion 1: what, value, bound, holds". Returns how many do not hold.
size_t criteria_print(FILE *out, const object_table *const *tables, size_t count);
