// The names and meanings of results, and the version.
#include <framealloc/base.h>

const char *fa_result_name(fa_result result) {
    switch (result) {
#define RESULT_NAME(name, value, message)                                                          \
    case name:                                                                                     \
        return #name;
        FA_RESULT_MAP(RESULT_NAME)
#undef RESULT_NAME
    }
    return "FA_RESULT_UNKNOWN";
}

const char *fa_result_message(fa_result result) {
    switch (result) {
#define RESULT_MESSAGE(name, value, message)                                                       \
    case name:                                                                                     \
        return message;
        FA_RESULT_MAP(RESULT_MESSAGE)
#undef RESULT_MESSAGE
    }
    return "this number is no result of the library";
}

const char *fa_version(void) {
    return FA_VERSION_STRING;
}
