// Each library is loaded for itself alone (RTLD_LOCAL), so its malloc replaces nobody else's. Its
// own calls do not go through the names that clash: what it needs inside, it has inside.

#define _GNU_SOURCE 1

#include "foreign_malloc.h"

#include "child.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <malloc/malloc.h>
#define USABLE_SIZE malloc_size
#else
#include <malloc.h>
#define USABLE_SIZE malloc_usable_size
#endif
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

enum { FILES = 3 };

typedef struct library {
    const char *name;
    const char *files[FILES]; // Tried in this order.
    void (*tell_version)(const foreign_malloc *foreign, char *text, size_t size);
} library;

foreign_function foreign_malloc_function(const foreign_malloc *foreign, const char *name) {
    void *handle = foreign->library != NULL ? foreign->library : RTLD_DEFAULT;
    void *symbol = dlsym(handle, name);
    foreign_function function = NULL;
    // C has no conversion from the one kind of pointer to the other; POSIX says they are alike.
    memcpy(&function, &symbol, sizeof function);
    return function;
}

// ---- Versions ----------------------------------------------------------------------------------

static void glibc_version(const foreign_malloc *foreign, char *text, size_t size) {
    (void)foreign;
#ifdef __GLIBC__
    snprintf(text, size, "%s", gnu_get_libc_version());
#else
    snprintf(text, size, "%s", "");
#endif
}

// One number: 209 is 2.0.9, and 30104 would be 3.1.4.
static void mimalloc_version(const foreign_malloc *foreign, char *text, size_t size) {
    int (*version)(void) = (int (*)(void))foreign_malloc_function(foreign, "mi_version");
    if (version == NULL) {
        return;
    }
    int number = version();
    int base = number < 1000 ? 10 : 100;
    snprintf(text, size, "%d.%d.%d", number / (base * base), number / base % base, number % base);
}

// "5.3.0-0-g54eaed1d8b5c..." up to the first dash.
static void jemalloc_version(const foreign_malloc *foreign, char *text, size_t size) {
    typedef int (*control)(const char *, void *, size_t *, void *, size_t);
    control mallctl = (control)foreign_malloc_function(foreign, "mallctl");
    const char *version = NULL;
    size_t length = sizeof version;
    if (mallctl != NULL && mallctl("version", &version, &length, NULL, 0) == 0) {
        snprintf(text, size, "%.*s", (int)strcspn(version, "-"), version);
    }
}

static void tcmalloc_version(const foreign_malloc *foreign, char *text, size_t size) {
    typedef const char *(*teller)(int *, int *, const char **);
    teller version = (teller)foreign_malloc_function(foreign, "tc_version");
    int major = 0;
    int minor = 0;
    const char *patch = NULL;
    if (version != NULL) {
        (void)version(&major, &minor, &patch);
        snprintf(text, size, "%d.%d%s", major, minor, patch != NULL ? patch : "");
    }
}

// ---- Loading -----------------------------------------------------------------------------------

static const library libraries[] = {
    {"glibc", {NULL}, glibc_version},
    {"mimalloc", {"libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so"}, mimalloc_version},
    {"jemalloc", {"libjemalloc.so.2", "libjemalloc.so"}, jemalloc_version},
    {"tcmalloc",
     {"libtcmalloc_minimal.so.4", "libtcmalloc.so.4", "libtcmalloc_minimal.so"},
     tcmalloc_version},
};

const char *foreign_malloc_name(size_t index) {
    return index < sizeof libraries / sizeof libraries[0] ? libraries[index].name : NULL;
}

static const library *library_find(const char *name) {
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
        if (strcmp(libraries[i].name, name) == 0) {
            return &libraries[i];
        }
    }
    return NULL;
}

// The first of its files that is here. NULL with the reason of the first that is not merely absent.
static void *library_load(const library *lib, char *error, size_t error_size) {
    snprintf(error, error_size, "%s is not installed here", lib->name);
    bool is_absent = true;
    for (int i = 0; i < FILES && lib->files[i] != NULL; i++) {
        void *handle = dlopen(lib->files[i], RTLD_NOW | RTLD_LOCAL);
        if (handle != NULL) {
            return handle;
        }
        const char *reason = dlerror();
        if (is_absent && reason != NULL && strstr(reason, "cannot open shared object") == NULL) {
            snprintf(error, error_size, "%s cannot be loaded: %s", lib->name, reason);
            is_absent = false;
        }
    }
    return NULL;
}

static void *own_aligned(size_t align, size_t size) {
    void *ptr = NULL;
    size_t least = align < sizeof ptr ? sizeof ptr : align;
    return posix_memalign(&ptr, least, size) == 0 ? ptr : NULL;
}

static size_t own_usable_size(void *ptr) {
    return USABLE_SIZE(ptr);
}

// Not looked up by name, so that a sanitizer's malloc or a preloaded one is found here too.
static void take_own_functions(foreign_malloc *out) {
    out->alloc = malloc;
    out->alloc_aligned = own_aligned;
    out->resize = realloc;
    out->free = free;
    out->usable_size = own_usable_size;
}

static bool take_functions(foreign_malloc *out) {
    out->alloc = (void *(*)(size_t))foreign_malloc_function(out, "malloc");
    out->alloc_aligned = (void *(*)(size_t, size_t))foreign_malloc_function(out, "memalign");
    out->resize = (void *(*)(void *, size_t))foreign_malloc_function(out, "realloc");
    out->free = (void (*)(void *))foreign_malloc_function(out, "free");
    out->usable_size = (size_t(*)(void *))foreign_malloc_function(out, "malloc_usable_size");
    return out->alloc != NULL && out->alloc_aligned != NULL && out->resize != NULL &&
           out->free != NULL && out->usable_size != NULL;
}

bool foreign_malloc_open(const char *name, foreign_malloc *out, char *error, size_t error_size) {
    const library *lib = library_find(name);
    if (lib == NULL) {
        snprintf(error, error_size, "there is no allocator '%s'", name);
        return false;
    }
    *out = (foreign_malloc){.name = lib->name};
    if (lib->files[0] == NULL) {
        take_own_functions(out);
    } else {
        out->library = library_load(lib, error, error_size);
        if (out->library == NULL) {
            return false;
        }
        if (!take_functions(out)) {
            snprintf(error, error_size, "%s lacks one of malloc's functions", lib->name);
            return false;
        }
    }
    lib->tell_version(out, out->version, sizeof out->version);
    return true;
}

static int try_open(void *name) {
    foreign_malloc foreign;
    char error[300];
    return foreign_malloc_open((const char *)name, &foreign, error, sizeof error) ? 0 : 1;
}

bool foreign_malloc_is_here(const char *name) {
    char copy[32];
    snprintf(copy, sizeof copy, "%s", name);
    child_end end = child_run(try_open, copy, NULL, NULL);
    return end.started && end.exit_code == 0;
}

// ---- Room for jemalloc -------------------------------------------------------------------------

#define TUNABLE "glibc.rtld.optional_static_tls"

static int lacks_room(void *unused) {
    (void)unused;
    foreign_malloc foreign;
    char error[300];
    bool is_open = foreign_malloc_open("jemalloc", &foreign, error, sizeof error);
    return !is_open && strstr(error, "static TLS") != NULL ? 1 : 0;
}

void foreign_malloc_make_room(char **argv) {
    const char *tunables = getenv("GLIBC_TUNABLES");
    if (tunables != NULL && strstr(tunables, TUNABLE) != NULL) {
        return; // This is the second start, or somebody decided otherwise.
    }
    child_end end = child_run(lacks_room, NULL, NULL, NULL);
    if (!end.started || end.exit_code != 1) {
        return;
    }
    char text[512];
    int length = snprintf(text, sizeof text, "%s%s" TUNABLE "=16384",
                          tunables != NULL ? tunables : "", tunables != NULL ? ":" : "");
    if (length > 0 && (size_t)length < sizeof text && setenv("GLIBC_TUNABLES", text, 1) == 0) {
        (void)execv("/proc/self/exe", argv);
    }
}
