// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// The calls on file descriptors that are answered here instead of in libc. A descriptor of a
// virtual node is an eventfd, so that poll, select and epoll wait for it by themselves.

#define _GNU_SOURCE
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <unistd.h>


enum { DESCRIPTORS = 65536 };
static struct handle *handles[DESCRIPTORS];
static pthread_mutex_t handles_lock = PTHREAD_MUTEX_INITIALIZER;

extern struct next_call __start_next_calls[], __stop_next_calls[];

__attribute__((constructor)) static void look_up_next_calls(void)
{
    for (struct next_call *call = __start_next_calls; call < __stop_next_calls; call++)
        *call->address = dlsym(RTLD_NEXT, call->name);
}

// ---- handles by descriptor

static bool is_ours(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS && __atomic_load_n(&handles[fd], __ATOMIC_ACQUIRE);
}

// The handle stays valid until put() even if another thread closes the descriptor.
static struct handle *take(int fd)
{
    if (!is_ours(fd))
        return NULL;
    pthread_mutex_lock(&handles_lock);
    struct handle *h = handles[fd];
    if (h && h->pid == getpid())
        h->references++;
    else
        h = NULL;
    pthread_mutex_unlock(&handles_lock);
    return h;
}

static void put(struct handle *h)
{
    pthread_mutex_lock(&handles_lock);
    bool last = --h->references == 0;
    pthread_mutex_unlock(&handles_lock);
    if (last)
        device_free(h);
}

// Leave a note which node a descriptor is, for who looks through /proc (see readlink).
static void note(const struct handle *h, int fd, bool held)
{
    char path[640], node[32];
    snprintf(path, sizeof path, "%s/held/%d.%d", h->box.root, h->pid, fd);
    unlink(path);
    if (!held || h->node == NODE_USB)
        return;
    snprintf(node, sizeof node, "/dev/video%d", h->number);
    if (symlink(node, path) < 0)
        perror(path);
}

void handle_install(int fd, struct handle *h)
{
    note(h, fd, true);
    pthread_mutex_lock(&handles_lock);
    h->references++;
    __atomic_store_n(&handles[fd], h, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&handles_lock);
}

static void forget(int fd)
{
    struct handle *h = take(fd);
    if (!h)
        return;
    pthread_mutex_lock(&handles_lock);
    bool ours = handles[fd] == h;
    if (ours)
        handles[fd] = NULL;
    pthread_mutex_unlock(&handles_lock);
    if (ours) {
        note(h, fd, false);
        put(h);
    }
    put(h);
}

// ---- open, close, dup

static int open_at(int at, const char *path, int flags, mode_t mode)
{
    char target[PATH_MAX];
    if (!redirect(path, target, sizeof target))
        return (int)syscall(SYS_openat, at, path, flags, mode);
    if (!strncmp(path, "/dev/", 5)) {
        struct stat status;
        if (syscall(SYS_newfstatat, AT_FDCWD, target, &status, 0) == 0 &&
            S_ISREG(status.st_mode)) {
            int fd = device_open(target, flags);
            if (fd != -2)
                return fd;
        }
    }
    return (int)syscall(SYS_openat, AT_FDCWD, target, flags, mode);
}

#define MODE(last)                                                                               \
    mode_t mode = 0;                                                                             \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                                       \
        va_list arguments;                                                                       \
        va_start(arguments, last);                                                               \
        mode = va_arg(arguments, mode_t);                                                        \
        va_end(arguments);                                                                       \
    }

#define OPEN(name)                                                                               \
    EXPORT int name(const char *path, int flags, ...)                                            \
    {                                                                                            \
        MODE(flags)                                                                              \
        return open_at(AT_FDCWD, path, flags, mode);                                             \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                             \
    EXPORT int name(int at, const char *path, int flags, ...)                                    \
    {                                                                                            \
        MODE(flags)                                                                              \
        return open_at(at, path, flags, mode);                                                   \
    }
OPENAT(openat)
OPENAT(openat64)

#define OPEN_2(name)                                                                             \
    EXPORT int name(const char *path, int flags);                                                \
    EXPORT int name(const char *path, int flags)                                                 \
    {                                                                                            \
        return open_at(AT_FDCWD, path, flags, 0);                                                \
    }
OPEN_2(__open_2)
OPEN_2(__open64_2)

#define OPENAT_2(name)                                                                           \
    EXPORT int name(int at, const char *path, int flags);                                        \
    EXPORT int name(int at, const char *path, int flags)                                         \
    {                                                                                            \
        return open_at(at, path, flags, 0);                                                      \
    }
OPENAT_2(__openat_2)
OPENAT_2(__openat64_2)

EXPORT int close(int fd)
{
    if (is_ours(fd))
        forget(fd);
    return (int)syscall(SYS_close, fd);
}

static int duplicated(int from, int to)
{
    struct handle *h = to >= 0 ? take(from) : NULL;
    if (h) {
        if (to < DESCRIPTORS)
            handle_install(to, h);
        put(h);
    }
    return to;
}

EXPORT int dup(int fd)
{
    return duplicated(fd, (int)syscall(SYS_dup, fd));
}

EXPORT int dup3(int from, int to, int flags)
{
    if (from != to && is_ours(to))
        forget(to);
    return duplicated(from, (int)syscall(SYS_dup3, from, to, flags));
}

EXPORT int dup2(int from, int to)
{
    if (from == to)
        return fcntl(from, F_GETFD) < 0 ? -1 : to;
    return dup3(from, to, 0);
}

#define FCNTL(name)                                                                              \
    int name(int fd, int command, ...);                                                          \
    EXPORT int name(int fd, int command, ...)                                                    \
    {                                                                                            \
        va_list arguments;                                                                       \
        va_start(arguments, command);                                                            \
        void *argument = va_arg(arguments, void *);                                              \
        va_end(arguments);                                                                       \
        int result = (int)syscall(SYS_fcntl, fd, command, argument);                             \
        if (is_ours(fd) && (command == F_DUPFD || command == F_DUPFD_CLOEXEC))                   \
            duplicated(fd, result);                                                              \
        return result;                                                                           \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

// ---- what a descriptor can do

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    struct handle *h = take(fd);
    if (!h)
        return (int)syscall(SYS_ioctl, fd, request, argument);
    int result = device_ioctl(h, fd, request, argument);
    int error = errno;
    put(h);
    errno = error;
    return result;
}

#define MMAP(name)                                                                               \
    EXPORT void *name(void *address, size_t size, int protection, int flags, int fd,             \
                      off_t offset)                                                              \
    {                                                                                            \
        struct handle *h = take(fd);                                                             \
        if (!h)                                                                                  \
            return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);      \
        void *result = device_mmap(h, address, size, protection, flags, offset);                 \
        put(h);                                                                                  \
        return result;                                                                           \
    }
MMAP(mmap)
MMAP(mmap64)

EXPORT ssize_t read(int fd, void *buffer, size_t size)
{
    if (!is_ours(fd))
        return NEXT(read)(fd, buffer, size);
    errno = EINVAL;  // uvcvideo has no read()
    return -1;
}

static dev_t device_number(int fd)
{
    struct handle *h = take(fd);
    dev_t number = h && h->node != NODE_USB ? makedev(81, h->number) : makedev(189, 0);
    if (h)
        put(h);
    return number;
}

#define FSTAT(name, type, parameters, ...)                                                       \
    int name parameters;                                                                         \
    EXPORT int name parameters                                                                   \
    {                                                                                            \
        int result = NEXT(name)(__VA_ARGS__);                                                    \
        if (result == 0 && is_ours(fd)) {                                                        \
            status->st_mode = S_IFCHR | 0660;                                                    \
            status->st_rdev = device_number(fd);                                                 \
        }                                                                                        \
        return result;                                                                           \
    }
FSTAT(fstat, stat, (int fd, struct stat *status), fd, status)
FSTAT(fstat64, stat64, (int fd, struct stat64 *status), fd, status)
FSTAT(__fxstat, stat, (int version, int fd, struct stat *status), version, fd, status)
FSTAT(__fxstat64, stat64, (int version, int fd, struct stat64 *status), version, fd, status)

// ---- waiting: errors that an eventfd cannot show

static short error_of(int fd)
{
    struct handle *h = take(fd);
    short result = h ? device_poll_error(h) : 0;
    if (h)
        put(h);
    return result;
}

static bool any_error(const struct pollfd *fds, nfds_t count)
{
    for (nfds_t i = 0; i < count; i++)
        if (is_ours(fds[i].fd) && error_of(fds[i].fd))
            return true;
    return false;
}

static int add_errors(struct pollfd *fds, nfds_t count, int result)
{
    for (nfds_t i = 0; result >= 0 && i < count; i++) {
        short error = is_ours(fds[i].fd) ? error_of(fds[i].fd) : 0;
        if (error) {
            result += fds[i].revents == 0;
            fds[i].revents = error;
        }
    }
    return result;
}

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // poll reads fds, too

EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    if (any_error(fds, count))
        timeout = 0;
    return add_errors(fds, count, NEXT(poll)(fds, count, timeout));
}

EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                 const sigset_t *mask)
{
    static const struct timespec at_once;
    if (any_error(fds, count))
        timeout = &at_once;
    return add_errors(fds, count, NEXT(ppoll)(fds, count, timeout, mask));
}

// A descriptor in error is readable for select.
static int select_errors(int count, fd_set *read_set, fd_set *found)
{
    int errors = 0;
    FD_ZERO(found);
    for (int fd = 0; read_set && fd < count; fd++)
        if (FD_ISSET(fd, read_set) && is_ours(fd) && error_of(fd)) {
            FD_SET(fd, found);
            errors++;
        }
    return errors;
}

static int add_readable(int count, fd_set *read_set, const fd_set *found, int result)
{
    for (int fd = 0; result >= 0 && fd < count; fd++)
        if (FD_ISSET(fd, found) && !FD_ISSET(fd, read_set)) {
            FD_SET(fd, read_set);
            result++;
        }
    return result;
}

EXPORT int select(int count, fd_set *read_set, fd_set *write_set, fd_set *except_set,
                  struct timeval *timeout)
{
    fd_set found;
    struct timeval at_once = {0, 0};
    int errors = select_errors(count, read_set, &found);
    int result = NEXT(select)(count, read_set, write_set, except_set,
                              errors ? &at_once : timeout);
    return errors ? add_readable(count, read_set, &found, result) : result;
}

EXPORT int pselect(int count, fd_set *read_set, fd_set *write_set, fd_set *except_set,
                   const struct timespec *timeout, const sigset_t *mask)
{
    fd_set found;
    static const struct timespec at_once;
    int errors = select_errors(count, read_set, &found);
    int result = NEXT(pselect)(count, read_set, write_set, except_set,
                               errors ? &at_once : timeout, mask);
    return errors ? add_readable(count, read_set, &found, result) : result;
}
