/* File calls below a folder, counted; at the chosen one the process is killed, the write is torn, or the call fails.
 *
 * cc -shared -fPIC -O2 -o preload.so preload.c -ldl; LD_PRELOAD=preload.so python …; fork.py arms it.
 */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Kinds of calls, the same numbers as in fork.py. */
enum { CREATE = 1, WRITE = 2, SYNC = 4, RENAME = 8, REMOVE = 16, MODE = 32, OPEN = 64, READ = 128, NAME = 256 };
/* What happens at the chosen call. */
enum { COUNT, KILL, TORN, FAIL };

#define MOST 65536
static char root[4096];
static size_t length;
static int action, counted, lasting, error_number, inside, report = -1, fired;
static long at, calls;
static unsigned char below[MOST];

void faults_arm(const char *folder, int what, int which, int after, long number, int error, int to) {
    char here[4096];
    snprintf(root, sizeof root, "%s/", folder);
    length = strlen(root);
    inside = getcwd(here, sizeof here - 1) != NULL && strncmp(strcat(here, "/"), root, length) == 0;
    action = what, counted = which, lasting = after, at = number, error_number = error, report = to;
    calls = fired = 0;
}

long faults_calls(void) { return calls; }

static int is_below(int folder, const char *path) {
    if (length == 0 || path == NULL) return 0;
    if (path[0] == '/') return strncmp(path, root, length) == 0 || strncmp(path, root, length - 1) == 0;
    if (folder != AT_FDCWD) return folder >= 0 && folder < MOST && below[folder];
    return inside;
}

static int is_below_number(int number) { return length != 0 && number >= 0 && number < MOST && below[number]; }

/* Whether the call fails, with errno set; does not return from a kill. 2: write half first. */
static int fault(int kind, const char *name, const char *path) {
    if (fired) {
        if (!(kind & lasting)) return 0;
        errno = error_number;
        return 1;
    }
    if (!(kind & counted)) return 0;
    if (__sync_add_and_fetch(&calls, 1) != at || action == COUNT) return 0;
    fired = 1;
    char text[1024];
    int n = snprintf(text, sizeof text, "%s %s", name, path ? path : "");
    ssize_t (*real_write)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (report >= 0 && real_write(report, text, n < (int)sizeof text ? n : (int)sizeof text) < 0) return 0;
    if (action == TORN) return 2;
    if (action == KILL) kill(getpid(), SIGKILL);
    errno = error_number;
    return 1;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, name)

static int kind_of(int flags) {
    if (flags & (O_CREAT | O_TRUNC)) return OPEN | CREATE;
    return (flags & O_ACCMODE) == O_RDONLY ? OPEN | READ : OPEN;
}

static int opened(int folder, const char *path, int flags, int number) {
    (void)flags;
    if (number >= 0 && number < MOST) below[number] = is_below(folder, path);
    return number;
}

#define MODE_OF(flags, mode) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

#define OPENS(symbol) \
    int symbol(const char *path, int flags, ...) { \
        REAL(int, #symbol, const char *, int, ...); \
        MODE_OF(flags, mode) \
        if (is_below(AT_FDCWD, path) && fault(kind_of(flags), "open", path)) return -1; \
        return opened(AT_FDCWD, path, flags, real(path, flags, mode)); \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(symbol) \
    int symbol(int folder, const char *path, int flags, ...) { \
        REAL(int, #symbol, int, const char *, int, ...); \
        MODE_OF(flags, mode) \
        if (is_below(folder, path) && fault(kind_of(flags), "open", path)) return -1; \
        return opened(folder, path, flags, real(folder, path, flags, mode)); \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

int close(int number) {
    REAL(int, "close", int);
    if (number >= 0 && number < MOST) below[number] = 0;
    return real(number);
}

ssize_t write(int number, const void *content, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    int wrong = is_below_number(number) ? fault(WRITE, "write", NULL) : 0;
    if (wrong == 2) {
        if (real(number, content, size / 2) >= 0) kill(getpid(), SIGKILL);
        return -1;
    }
    return wrong ? -1 : real(number, content, size);
}

#define ON_NUMBER(type, symbol, kind, parameters, arguments, ...) \
    type symbol parameters { \
        REAL(type, #symbol, __VA_ARGS__); \
        int wrong = is_below_number(number) ? fault(kind, #symbol, NULL) : 0; \
        if (wrong == 2) kill(getpid(), SIGKILL); \
        if (wrong) return -1; \
        return real arguments; \
    }
ON_NUMBER(ssize_t, read, READ, (int number, void *to, size_t size), (number, to, size), int, void *, size_t)
ON_NUMBER(ssize_t, pread64, READ, (int number, void *to, size_t size, off_t from), (number, to, size, from), int, void *, size_t, off_t)
ON_NUMBER(ssize_t, pwrite64, WRITE, (int number, const void *of, size_t size, off_t from), (number, of, size, from), int, const void *, size_t, off_t)
ON_NUMBER(ssize_t, writev, WRITE, (int number, const struct iovec *of, int count), (number, of, count), int, const struct iovec *, int)
ON_NUMBER(ssize_t, sendfile64, WRITE, (int number, int from, off_t *start, size_t size), (number, from, start, size), int, int, off_t *, size_t)
ON_NUMBER(ssize_t, sendfile, WRITE, (int number, int from, off_t *start, size_t size), (number, from, start, size), int, int, off_t *, size_t)
ON_NUMBER(int, fsync, SYNC, (int number), (number), int)
ON_NUMBER(int, fdatasync, SYNC, (int number), (number), int)
ON_NUMBER(int, ftruncate64, MODE, (int number, off_t size), (number, size), int, off_t)
ON_NUMBER(int, ftruncate, MODE, (int number, off_t size), (number, size), int, off_t)
ON_NUMBER(int, fchmod, MODE, (int number, mode_t mode), (number, mode), int, mode_t)

#define ON_PATH(symbol, kind, parameters, arguments, ...) \
    int symbol parameters { \
        REAL(int, #symbol, __VA_ARGS__); \
        if (is_below(folder_of, path) && fault(kind, #symbol, path)) return -1; \
        return real arguments; \
    }
#define folder_of AT_FDCWD
ON_PATH(rename, RENAME, (const char *before, const char *path), (before, path), const char *, const char *)
ON_PATH(unlink, REMOVE, (const char *path), (path), const char *)
ON_PATH(rmdir, REMOVE, (const char *path), (path), const char *)
ON_PATH(mkdir, CREATE, (const char *path, mode_t mode), (path, mode), const char *, mode_t)
ON_PATH(chmod, MODE, (const char *path, mode_t mode), (path, mode), const char *, mode_t)
ON_PATH(symlink, NAME, (const char *to, const char *path), (to, path), const char *, const char *)
ON_PATH(link, NAME, (const char *to, const char *path), (to, path), const char *, const char *)
#undef folder_of
#define folder_of folder
ON_PATH(unlinkat, REMOVE, (int folder, const char *path, int flags), (folder, path, flags), int, const char *, int)
ON_PATH(mkdirat, CREATE, (int folder, const char *path, mode_t mode), (folder, path, mode), int, const char *, mode_t)
ON_PATH(fchmodat, MODE, (int folder, const char *path, mode_t mode, int flags), (folder, path, mode, flags), int, const char *, mode_t, int)
