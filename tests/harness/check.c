// The checks and what they print.
//
// State of the running test is global, because tests run one after the other; counts are atomic,
// because a test may have threads. What belongs to a thread (where to jump when it leaves, its
// note) is thread-local.
#include "check.h"
#include "check_state.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PRINTED_FAILURES_MAX = 10, NOTE_MAX = 200, TEXT_MAX = 64 };

check_run_state check_state;

static CHECK_THREAD_LOCAL jmp_buf *leave_target;
static CHECK_THREAD_LOCAL char note[NOTE_MAX];

// ---- Leaving -----------------------------------------------------------------------------------

void check_leave(void) {
    if (leave_target == NULL) {
        fprintf(stderr,
                "REQUIRE or SKIP used in a thread that check_thread_start() did not start\n");
        abort();
    }
    longjmp(*leave_target, 1);
}

bool check_run_guarded(void (*run)(void *arg), void *arg) {
    jmp_buf here;
    jmp_buf *volatile outer = leave_target;
    bool completed = false;
    leave_target = &here;
    if (setjmp(here) == 0) {
        run(arg);
        completed = true;
    }
    leave_target = outer;
    return completed;
}

void check_skip(const char *why) {
    snprintf(check_state.skip_reason, sizeof(check_state.skip_reason), "%s", why);
    check_state.skipped = true;
    check_leave();
}

void check_note(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(note, sizeof(note), format, args);
    va_end(args);
}

void check_note_clear(void) {
    note[0] = '\0';
}

// ---- Reporting ---------------------------------------------------------------------------------

static void count_check(void) {
    atomic_fetch_add_explicit(&check_state.checks, 1, memory_order_relaxed);
}

/// Prints one failure in one piece, so that threads do not mix theirs. `detail` may be "".
static void report(const char *file, int line, const char *what, const char *detail) {
    unsigned before = atomic_fetch_add(&check_state.failures, 1);
    if (before > PRINTED_FAILURES_MAX) {
        return;
    }
    if (before == PRINTED_FAILURES_MAX) {
        printf("    more failures of this test are counted, not printed\n");
        fflush(stdout);
        return;
    }
    const char *note_lead = note[0] != '\0' ? "\n    note: " : "";
    printf("%s%s:%d: %s.%s: %s%s%s%s\n", before == 0 && check_state.verbose ? "\n" : "", file, line,
           check_state.suite, check_state.test, what, detail, note_lead, note);
    fflush(stdout);
}

bool check_fail(const char *file, int line, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    count_check();
    report(file, line, text, "");
    return false;
}

bool check_true(const char *file, int line, const char *text, bool held) {
    count_check();
    if (!held) {
        char what[512];
        snprintf(what, sizeof(what), "%s does not hold", text);
        report(file, line, what, "");
    }
    return held;
}

// ---- Values ------------------------------------------------------------------------------------

check_value check_value_signed(int64_t value) {
    return (check_value){.kind = CHECK_IS_SIGNED, .bits = (uint64_t)value, .real = (double)value};
}

check_value check_value_unsigned(uint64_t value) {
    return (check_value){.kind = CHECK_IS_UNSIGNED, .bits = value, .real = (double)value};
}

check_value check_value_float(float value) {
    return check_value_double((double)value);
}

check_value check_value_double(double value) {
    return (check_value){.kind = CHECK_IS_REAL, .real = value};
}

check_value check_value_address(uintptr_t value) {
    return (check_value){.kind = CHECK_IS_POINTER, .bits = value, .real = (double)value};
}

static bool value_is_negative(check_value value) {
    return value.kind == CHECK_IS_SIGNED && (value.bits >> 63) != 0;
}

/// Below 0, 0 or above 0, as a is less than, equal to or greater than b; a NaN is unordered,
/// reported as 2.
static int value_order(check_value a, check_value b) {
    if (a.kind == CHECK_IS_REAL || b.kind == CHECK_IS_REAL) {
        if (a.real < b.real) {
            return -1;
        }
        if (a.real > b.real) {
            return 1;
        }
        return a.real <= b.real ? 0 : 2;
    }
    if (value_is_negative(a) != value_is_negative(b)) {
        return value_is_negative(a) ? -1 : 1;
    }
    // Of one sign the two's complement bits are in the order of the values.
    if (a.bits == b.bits) {
        return 0;
    }
    return a.bits < b.bits ? -1 : 1;
}

static bool order_matches(int order, check_op op) {
    switch (op) {
    case CHECK_OP_EQ:
        return order == 0;
    case CHECK_OP_NE:
        return order != 0;
    case CHECK_OP_LT:
        return order == -1;
    case CHECK_OP_LE:
        return order == -1 || order == 0;
    case CHECK_OP_GT:
        return order == 1;
    case CHECK_OP_GE:
        return order == 1 || order == 0;
    }
    return false;
}

static void value_print(char text[TEXT_MAX], check_value value) {
    if (value.kind == CHECK_IS_REAL) {
        snprintf(text, TEXT_MAX, "%.17g", value.real);
    } else if (value.kind == CHECK_IS_POINTER) {
        snprintf(text, TEXT_MAX, value.bits == 0 ? "NULL" : "0x%" PRIx64, value.bits);
    } else if (value_is_negative(value)) {
        snprintf(text, TEXT_MAX, "-%" PRIu64, ~value.bits + 1);
    } else if (value.bits < 10) {
        snprintf(text, TEXT_MAX, "%" PRIu64, value.bits);
    } else {
        snprintf(text, TEXT_MAX, "%" PRIu64 " (0x%" PRIx64 ")", value.bits, value.bits);
    }
}

bool check_compare(const char *file, int line, check_op op, const char *a_text, const char *b_text,
                   check_value a, check_value b) {
    static const char *const signs[] = {"==", "!=", "<", "<=", ">", ">="};
    count_check();
    if (order_matches(value_order(a, b), op)) {
        return true;
    }
    char a_value[TEXT_MAX];
    char b_value[TEXT_MAX];
    char what[512];
    char detail[1024];
    value_print(a_value, a);
    value_print(b_value, b);
    snprintf(what, sizeof(what), "%s %s %s does not hold", a_text, signs[op], b_text);
    snprintf(detail, sizeof(detail), "\n    %s = %s\n    %s = %s", a_text, a_value, b_text,
             b_value);
    report(file, line, what, detail);
    return false;
}

bool check_null(const char *file, int line, const char *text, uintptr_t address, bool want_null) {
    count_check();
    if ((address == 0) == want_null) {
        return true;
    }
    char what[512];
    char value[TEXT_MAX];
    value_print(value, check_value_address(address));
    snprintf(what, sizeof(what), "%s is %s", text, want_null ? value : "NULL");
    report(file, line, what, want_null ? ", not NULL" : "");
    return false;
}

bool check_strings(const char *file, int line, const char *a_text, const char *b_text,
                   const char *a, const char *b, bool whole) {
    count_check();
    bool held = a == b;
    if (a != NULL && b != NULL) {
        held = whole ? strcmp(a, b) == 0 : strstr(a, b) != NULL;
    }
    if (held) {
        return true;
    }
    char what[512];
    char detail[2048];
    snprintf(what, sizeof(what), "%s %s %s does not hold", a_text, whole ? "equals" : "contains",
             b_text);
    snprintf(detail, sizeof(detail), "\n    %s = \"%.900s\"\n    %s = \"%.900s\"", a_text,
             a != NULL ? a : "(NULL)", b_text, b != NULL ? b : "(NULL)");
    report(file, line, what, detail);
    return false;
}

bool check_memory(const char *file, int line, const char *a_text, const char *b_text, const void *a,
                  const void *b, size_t size) {
    count_check();
    char what[512];
    if ((a == NULL || b == NULL) && size != 0) {
        snprintf(what, sizeof(what), "bytes of NULL compared: %s is %s, %s is %s", a_text,
                 a != NULL ? "not" : "NULL", b_text, b != NULL ? "not" : "NULL");
        report(file, line, what, "");
        return false;
    }
    const unsigned char *a_bytes = (const unsigned char *)a;
    const unsigned char *b_bytes = (const unsigned char *)b;
    for (size_t i = 0; i < size; i++) {
        if (a_bytes[i] != b_bytes[i]) {
            char detail[256];
            snprintf(what, sizeof(what), "%s and %s differ", a_text, b_text);
            snprintf(detail, sizeof(detail), "\n    first at byte %zu of %zu: 0x%02x and 0x%02x", i,
                     size, (unsigned)a_bytes[i], (unsigned)b_bytes[i]);
            report(file, line, what, detail);
            return false;
        }
    }
    return true;
}

bool check_dies(const char *file, int line, const char *name, void (*run)(void *arg), void *arg,
                const char *text) {
    check_child child;
    check_child_run(run, arg, &child);
    count_check();
    if (!check_child_died(&child)) {
        char what[256];
        snprintf(what, sizeof(what), "%s should have ended its process, and returned", name);
        report(file, line, what, "");
        return false;
    }
    return check_strings(file, line, "output", "expected text", child.text, text, false);
}
