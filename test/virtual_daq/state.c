// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// The box's state file: mapping, lock and logs. A client may be killed at any point, so the lock
// is a robust mutex, and the logs are files that records are appended to.

#define _GNU_SOURCE
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *const log_names[LOGS] = {"writes", "packets", "faults", "frames"};
static const size_t log_sizes[LOGS] = {sizeof(struct write_record), sizeof(struct packet_record),
                                       sizeof(struct fault_record), sizeof(struct frame_record)};

i64 now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int box_file(const struct box *box, const char *file, int flags)
{
    char path[640];
    snprintf(path, sizeof path, "%s/boxes/%s/%s", box->root, box->name, file);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0666);
}

int box_attach(struct box *box, const char *root, const char *name)
{
    snprintf(box->root, sizeof box->root, "%s", root);
    snprintf(box->name, sizeof box->name, "%s", name);
    int file = box_file(box, "state", O_RDWR);
    if (file < 0)
        return -1;
    box->state = mmap(NULL, sizeof *box->state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    syscall(SYS_close, file);
    if (box->state == MAP_FAILED)
        return -1;
    for (int i = 0; i < LOGS; i++)
        box->logs[i] = box_file(box, log_names[i], O_WRONLY | O_APPEND | O_CREAT);
    return 0;
}

void box_detach(struct box *box)
{
    for (int i = 0; i < LOGS; i++)
        syscall(SYS_close, box->logs[i]);
    munmap(box->state, sizeof *box->state);
}

void box_lock(struct box *box)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)box->state->lock;
    if (pthread_mutex_lock(lock) == EOWNERDEAD)
        pthread_mutex_consistent(lock);
}

void box_unlock(struct box *box)
{
    pthread_mutex_unlock((pthread_mutex_t *)box->state->lock);
}

void box_log(struct box *box, enum log log, const void *record)
{
    if (write(box->logs[log], record, log_sizes[log]) < 0)
        perror("virtual_daq: log");
}

void box_fault(struct box *box, enum protocol_fault kind, i64 detail)
{
    struct fault_record record = {
        .ns = now_ns(), .detail = detail, .kind = kind, .pid = getpid()};
    box_log(box, LOG_FAULTS, &record);
}

void box_poke(struct box *box)
{
    __atomic_add_fetch(&box->state->poke, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &box->state->poke, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
}
