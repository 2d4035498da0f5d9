// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// Redirection of paths: what stands under /dev and /sys for cameras is looked for under
// VIRTUAL_DAQ_ROOT. Without a root nothing is redirected.

#define _GNU_SOURCE
#include "box.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

// Read each time: a test process may go from one rig to the next.
const char *virtual_root(void)
{
    const char *root = getenv("VIRTUAL_DAQ_ROOT");
    return root && *root ? root : NULL;
}

static const char *const prefixes[] = {
    "/dev/video", "/dev/v4l", "/dev/bus/usb", "/sys/class/video4linux", "/sys/bus/usb",
    "/sys/dev/char/81:", "/sys/devices/pci0000:00/0000:00:99.0"};

// Write where the path leads to into target; false: nowhere else.
bool redirect(const char *path, char *target, size_t size)
{
    const char *root;
    if (!path || (strncmp(path, "/dev", 4) && strncmp(path, "/sys", 4)) ||
        !(root = virtual_root()))
        return false;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (!strncmp(path, prefixes[i], strlen(prefixes[i]))) {
            plug_settle(root);
            snprintf(target, size, "%s%s", root, path);
            return true;
        }
    return false;
}

static const char *where(const char *path, char *target)
{
    return redirect(path, target, PATH_MAX) ? target : path;
}

EXPORT DIR *opendir(const char *path)
{
    char target[PATH_MAX];
    const char *root;
    if ((!strcmp(path, "/dev") || !strcmp(path, "/dev/")) && (root = virtual_root())) {
        plug_settle(root);
        snprintf(target, sizeof target, "%s/dev", root);  // the list of /dev/video* is wanted
        return NEXT(opendir)(target);
    }
    return NEXT(opendir)(where(path, target));
}

#define ONE_PATH(type, name, arguments, ...)                                                     \
    EXPORT type name arguments                                                                   \
    {                                                                                            \
        char target[PATH_MAX];                                                                   \
        return NEXT(name)(__VA_ARGS__);                                                          \
    }

FILE *fopen64(const char *, const char *);
ONE_PATH(FILE *, fopen, (const char *path, const char *mode), where(path, target), mode)
ONE_PATH(FILE *, fopen64, (const char *path, const char *mode), where(path, target), mode)
ONE_PATH(int, access, (const char *path, int mode), where(path, target), mode)
ONE_PATH(int, faccessat, (int at, const char *path, int mode, int flags), at,
         where(path, target), mode, flags)

// /proc/PID/fd/N of a process that holds a virtual node says which, as it would for a real one.
EXPORT ssize_t readlink(const char *path, char *buffer, size_t size)
{
    char target[PATH_MAX];
    const char *root;
    int pid, fd;
    ssize_t length = NEXT(readlink)(where(path, target), buffer, size);
    if (length < 0 || sscanf(path, "/proc/%d/fd/%d", &pid, &fd) != 2 || !(root = virtual_root()) ||
        strncmp(buffer, "anon_inode:", 11))
        return length;
    snprintf(target, sizeof target, "%s/held/%d.%d", root, pid, fd);
    ssize_t node = NEXT(readlink)(target, buffer, size);
    return node < 0 ? NEXT(readlink)(path, buffer, size) : node;
}

ONE_PATH(ssize_t, readlinkat, (int at, const char *path, char *buffer, size_t size), at,
         where(path, target), buffer, size)

// Which kernel it is decides what uvcvideo answers from its cache.
EXPORT int uname(struct utsname *name)
{
    char path[PATH_MAX];
    const char *root = virtual_root();
    int result = (int)syscall(SYS_uname, name);
    if (!root)
        return result;
    snprintf(path, sizeof path, "%s/kernel", root);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, name->release, sizeof name->release - 1);
    if (size > 0)
        name->release[size] = 0;
    if (file >= 0)
        close(file);
    return result;
}

EXPORT char *realpath(const char *path, char *resolved)
{
    char target[PATH_MAX];
    bool moved = redirect(path, target, sizeof target);
    char *result = NEXT(realpath)(moved ? target : path, resolved);
    const char *root = virtual_root();
    if (moved && result && !strncmp(result, root, strlen(root)))
        memmove(result, result + strlen(root), strlen(result) - strlen(root) + 1);
    return result;
}

// A regular file below /dev stands for a character device: 81:N for videoN, 189:N on the USB bus.
static bool is_device(const char *path, mode_t mode)
{
    return !strncmp(path, "/dev/", 5) && S_ISREG(mode);
}

static dev_t device_number(const char *node)
{
    char end[PATH_MAX];
    const char *name = NEXT(realpath)(node, end) ? strrchr(end, '/') + 1 : "";
    return strncmp(name, "video", 5) ? makedev(189, atoi(name)) : makedev(81, atoi(name + 5));
}

EXPORT int statx(int at, const char *path, int flags, unsigned mask, struct statx *status)
{
    char target[PATH_MAX];
    bool moved = redirect(path, target, sizeof target);
    int result = NEXT(statx)(at, moved ? target : path, flags, mask, status);
    if (result == 0 && moved && is_device(path, status->stx_mode)) {
        status->stx_mode = S_IFCHR | 0660;
        status->stx_rdev_major = major(device_number(target));
        status->stx_rdev_minor = minor(device_number(target));
    }
    return result;
}

#define STAT(name, type, parameters, ...)                                                        \
    int name parameters;                                                                         \
    EXPORT int name parameters                                                                   \
    {                                                                                            \
        char target[PATH_MAX];                                                                   \
        bool moved = redirect(path, target, sizeof target);                                      \
        const char *there = moved ? target : path;                                               \
        int result = NEXT(name)(__VA_ARGS__);                                                    \
        if (result == 0 && moved && is_device(path, status->st_mode)) {                          \
            status->st_mode = S_IFCHR | 0660;                                                    \
            status->st_rdev = device_number(target);                                             \
        }                                                                                        \
        return result;                                                                           \
    }

STAT(stat, stat, (const char *path, struct stat *status), there, status)
STAT(stat64, stat64, (const char *path, struct stat64 *status), there, status)
STAT(lstat, stat, (const char *path, struct stat *status), there, status)
STAT(lstat64, stat64, (const char *path, struct stat64 *status), there, status)
STAT(__xstat, stat, (int version, const char *path, struct stat *status), version, there, status)
STAT(__xstat64, stat64, (int version, const char *path, struct stat64 *status), version, there,
     status)
STAT(__lxstat, stat, (int version, const char *path, struct stat *status), version, there, status)
STAT(__lxstat64, stat64, (int version, const char *path, struct stat64 *status), version, there,
     status)
STAT(fstatat, stat, (int at, const char *path, struct stat *status, int flags), at, there, status,
     flags)
STAT(fstatat64, stat64, (int at, const char *path, struct stat64 *status, int flags), at, there,
     status, flags)
