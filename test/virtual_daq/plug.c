// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// What a plugged-in box looks like under the root folder: device nodes, by-path links, sysfs.
// The folder's device nodes are small text files (device.c reads them).

#define _GNU_SOURCE
#include "box.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUS "/sys/devices/pci0000:00/0000:00:99.0"

static char *format(const char *pattern, ...)
{
    char *text;
    va_list arguments;
    va_start(arguments, pattern);
    if (vasprintf(&text, pattern, arguments) < 0)
        abort();
    va_end(arguments);
    return text;
}

static void make_parents(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0777);
        *slash = '/';
    }
}

// Takes path and content over.
static void put(char *path, char *content, size_t size)
{
    make_parents(path);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0 || write(file, content, size) < 0)
        perror(path);
    close(file);
    free(path);
    free(content);
}

static void put_text(char *path, char *text)
{
    put(path, text, strlen(text));
}

static void put_link(char *path, char *target)
{
    make_parents(path);
    unlink(path);
    if (symlink(target, path) < 0)
        perror(path);
    free(path);
    free(target);
}

static int bus_number(const struct state *s)
{
    return atoi(s->port);
}

static char *by_path(const struct box *box, int index)
{
    return format("%s/dev/v4l/by-path/pci-0000:00:99.0-usb-0:%s:1.0-video-index%d", box->root,
                  strchr(box->state->port, '-') + 1, index);
}

static char *usb_node(const struct box *box)
{
    return format("%s/dev/bus/usb/%03d/%03d", box->root, bus_number(box->state),
                  box->state->device_number);
}

static void drop(char *path)
{
    unlink(path);
    free(path);
}

static int drop_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

static void plug_video(struct box *box, const char *usb, int index)
{
    const struct state *s = box->state;
    int number = s->number + index;
    char *video = format("%s/%s:1.0/video4linux/video%d", usb, s->port, number);
    put_text(format("%s%s/name", box->root, video), format("%s\n", s->card));
    put_text(format("%s%s/index", box->root, video), format("%d\n", index));
    put_text(format("%s%s/dev", box->root, video), format("81:%d\n", number));
    put_text(format("%s%s/uevent", box->root, video),
             format("MAJOR=81\nMINOR=%d\nDEVNAME=video%d\n", number, number));
    put_link(format("%s%s/device", box->root, video), format("../../../%s:1.0", s->port));
    put_link(format("%s/sys/class/video4linux/video%d", box->root, number),
             format("../../%s", video + strlen("/sys/")));
    put_link(format("%s/sys/dev/char/81:%d", box->root, number),
             format("../../%s", video + strlen("/sys/")));
    put_text(format("%s/dev/video%d", box->root, number),
             format("virtual_daq %s %s\n", index ? "metadata" : "capture", box->name));
    put_link(by_path(box, index), format("../../video%d", number));
    free(video);
}

// With the box locked: let it appear, its capture node under this number.
void plug_locked(struct box *box, int number)
{
    struct state *s = box->state;
    char *usb = format(BUS "/usb%d/%s", bus_number(s), s->port);
    char *descriptors = malloc(sizeof s->descriptors);
    s->number = number;
    s->device_number = s->device_number % 127 + 1;
    s->reappear_ns = 0;
    s->cached = s->streaming = 0;
    s->width = s->height = 608;
    if (is_camera(s))
        camera_choose(s, 0);
    s->generation++;
    put_text(format("%s%s/idVendor", box->root, usb), format("%s\n", s->vendor_id));
    put_text(format("%s%s/idProduct", box->root, usb), format("%s\n", s->product_id));
    put_text(format("%s%s/product", box->root, usb), format("%s\n", s->product));
    put_text(format("%s%s/manufacturer", box->root, usb), format(is_camera(s) ? "Camera\n" : "Cypress\n"));
    put_text(format("%s%s/busnum", box->root, usb), format("%d\n", bus_number(s)));
    put_text(format("%s%s/devnum", box->root, usb), format("%d\n", s->device_number));
    put_text(format("%s%s/devpath", box->root, usb), format("%s\n", strchr(s->port, '-') + 1));
    put_text(format("%s%s/speed", box->root, usb), format("%s\n", s->speed));
    memcpy(descriptors, s->descriptors, sizeof s->descriptors);
    put(format("%s%s/descriptors", box->root, usb), descriptors, s->descriptors_size);
    put_text(format("%s%s/%s:1.0/bInterfaceNumber", box->root, usb, s->port), format("00\n"));
    put_link(format("%s/sys/bus/usb/devices/%s", box->root, s->port),
             format("../../../%s", usb + strlen("/sys/")));
    for (int interface = 0; interface < 2; interface++)
        put_link(format("%s/sys/bus/usb/devices/%s:1.%d", box->root, s->port, interface),
                 format("../../../%s/%s:1.%d", usb + strlen("/sys/"), s->port, interface));
    put_text(usb_node(box), format("virtual_daq usb %s\n", box->name));
    free(usb);
    s->present = 1;
    plug_driver_locked(box, true, 0);
}

static void drop_video(struct box *box, int index)
{
    const struct state *s = box->state;
    char *usb = format("%s" BUS "/usb%d/%s", box->root, bus_number(s), s->port);
    char *video = format("%s/%s:1.0/video4linux/video%d", usb, s->port, s->number + index);
    drop(by_path(box, index));
    drop(format("%s/dev/video%d", box->root, s->number + index));
    drop(format("%s/sys/class/video4linux/video%d", box->root, s->number + index));
    drop(format("%s/sys/dev/char/81:%d", box->root, s->number + index));
    nftw(video, drop_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(video);
    free(usb);
}

// With the box locked: who has its interfaces: uvcvideo, a program (usbfs), nobody.
void plug_driver_locked(struct box *box, bool uvcvideo, int claimed)
{
    struct state *s = box->state;
    char *usb = format(BUS "/usb%d/%s", bus_number(s), s->port);
    s->detached = !uvcvideo;
    s->claimed = claimed;
    uvcvideo &= is_camera(s) || !strcmp(s->product_id, "00f9");  // else it has nodes that no test looks for
    for (int interface = 0; interface < 2; interface++) {
        const char *name = uvcvideo ? "uvcvideo" : claimed & 1 << interface ? "usbfs" : "";
        drop(format("%s%s/%s:1.%d/driver", box->root, usb, s->port, interface));
        if (*name)
            put_link(format("%s%s/%s:1.%d/driver", box->root, usb, s->port, interface),
                     format("../../../../../../bus/usb/drivers/%s", name));
    }
    if (claimed)  // lest plug_settle misses that its program was killed
        put_text(format("%s/pending/%s", box->root, box->name), format("\n"));
    for (int index = 1; index >= 0; index--) {
        drop_video(box, index);
        if (uvcvideo)
            plug_video(box, usb, index);
    }
    free(usb);
}

// With the box locked: let it vanish, and come back by itself after that time; 0: not.
void unplug_locked(struct box *box, i64 back_after_ns, int number)
{
    struct state *s = box->state;
    if (s->present) {
        s->present = 0;
        for (int index = 0; index < 2; index++)
            drop_video(box, index);
        drop(usb_node(box));
        drop(format("%s/sys/bus/usb/devices/%s", box->root, s->port));
        drop(format("%s/sys/bus/usb/devices/%s:1.0", box->root, s->port));
        drop(format("%s/sys/bus/usb/devices/%s:1.1", box->root, s->port));
        char *usb = format("%s" BUS "/usb%d/%s", box->root, bus_number(s), s->port);
        nftw(usb, drop_entry, 16, FTW_DEPTH | FTW_PHYS);
        free(usb);
        s->claimed = 0;
    }
    if (number >= 0)
        s->number = number;
    s->reappear_ns = back_after_ns ? now_ns() + back_after_ns : 0;
    if (back_after_ns)  // seen by plug_settle in any process
        put_text(format("%s/pending/%s", box->root, box->name), format("\n"));
}

// Whether a living program holds the box.
static bool box_held(const struct box *box)
{
    char file[32];
    snprintf(file, sizeof file, "lock.%d", box->state->generation);
    int lock = box_file(box, file, O_RDWR | O_CREAT);
    bool held = flock(lock, LOCK_SH | LOCK_NB) < 0;
    close(lock);
    return held;
}

// Plug in what is due. Called at each look at the folders, in whatever process.
void plug_settle(const char *root)
{
    char *pending = format("%s/pending", root);
    DIR *folder = opendir(pending);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        struct box box;
        if (entry->d_name[0] == '.' || box_attach(&box, root, entry->d_name) < 0)
            continue;
        box_lock(&box);
        struct state *s = box.state;
        bool due = s->reappear_ns && now_ns() >= s->reappear_ns;
        if (due)
            plug_locked(&box, s->number);
        if (s->claimed && !box_held(&box))  // killed: no driver has the interfaces now
            plug_driver_locked(&box, false, 0);
        if ((due || !s->reappear_ns) && !s->claimed)
            drop(format("%s/%s", pending, entry->d_name));
        box_unlock(&box);
        box_detach(&box);
    }
    if (folder)
        closedir(folder);
    free(pending);
}
