// The numbers of the problems in codes.def, for use inside the library.
#pragma once

typedef enum fa__code {
    FA__CODE_NONE = 0,
#define CODE(symbol, number, severity, message, cause, remedy) FA__CODE_##symbol = (number),
#include "codes.def"
#undef CODE
} fa__code;
