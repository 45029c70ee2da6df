// All suites of tests/suites.def as one program.
#include "check.h"

#define SUITE(name) extern const check_suite name##_suite;
#include "../suites.def"
#undef SUITE

#define SUITE(name) &name##_suite,
static const check_suite *const suites[] = {
#include "../suites.def"
};
#undef SUITE

int main(int argc, char **argv) {
    return check_main(argc, argv, suites, sizeof(suites) / sizeof(suites[0]));
}
