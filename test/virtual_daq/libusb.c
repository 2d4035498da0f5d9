// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// The boxes as libusb-1.0 shows them. Under the name libusb-1.0.so.0 in the folder of the
// library (build.py) this is what a program loads that asks for libusb; its calls act on the same
// boxes as those on /dev/video*. Structures and numbers are those of libusb's public interface.

#define _GNU_SOURCE
#include "box.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/usb/video.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum error {
    OK = 0, ERROR_IO = -1, ERROR_INVALID = -2, ERROR_ACCESS = -3, ERROR_NO_DEVICE = -4,
    ERROR_NOT_FOUND = -5, ERROR_BUSY = -6, ERROR_TIMEOUT = -7, ERROR_PIPE = -9,
    ERROR_NO_MEM = -11, ERROR_NOT_SUPPORTED = -12,
};
enum transfer_status {
    TRANSFER_COMPLETED, TRANSFER_ERROR, TRANSFER_TIMED_OUT, TRANSFER_CANCELLED, TRANSFER_STALL,
    TRANSFER_NO_DEVICE, TRANSFER_OVERFLOW,
};
enum { INTERFACES = 2, ENDPOINT = 0x83, TERMINAL = 1, UNIT = 2, SUPER_SPEED = 4 };

struct transfer {  // struct libusb_transfer
    struct usb_handle *handle;
    u8 flags;
    unsigned char endpoint, type;
    unsigned int timeout;
    int status, length, actual_length;
    void (*callback)(struct transfer *);
    void *user_data;
    unsigned char *buffer;
    int iso_packets;
};

struct entry {  // what stands before each transfer
    struct entry *next;
    bool submitted;
    struct transfer transfer;
};

struct list {
    struct entry *first, **last;
};

struct usb_device {
    struct context *context;
    int references;
    char name[64];
    int bus, number;
    u8 ports[8];
    int depth;
    u16 product;
};

struct usb_handle {
    struct handle h;  // first: usb_emit gets its address
    struct usb_device *device;
    struct usb_handle *next;
    struct list waiting;
    u32 out;  // transfers that the kernel has
    bool automatic;  // take the box from uvcvideo when claiming, give it back when releasing
};

struct context {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list done;
    struct usb_handle *handles;
};

static void append(struct list *list, struct entry *entry)
{
    if (!list->first)
        list->last = &list->first;
    entry->next = NULL;
    *list->last = entry;
    list->last = &entry->next;
}

static struct entry *take_first(struct list *list)
{
    struct entry *entry = list->first;
    if (entry)
        list->first = entry->next;
    if (!list->first)
        list->last = &list->first;
    return entry;
}

static bool take_out(struct list *list, struct entry *wanted)
{
    struct list rest = {0};
    bool found = false;
    for (struct entry *entry; (entry = take_first(list));)
        if (entry == wanted)
            found = true;
        else
            append(&rest, entry);
    *list = rest;
    return found;
}

static struct entry *entry_of(struct transfer *transfer)
{
    return (struct entry *)((char *)transfer - offsetof(struct entry, transfer));
}

// With the context locked.
static void finish(struct context *c, struct entry *entry, int status, int length)
{
    entry->transfer.status = status;
    entry->transfer.actual_length = length;
    append(&c->done, entry);
    pthread_cond_broadcast(&c->changed);
}

static void finish_all(struct context *c, struct usb_handle *u, int status)
{
    for (struct entry *entry; (entry = take_first(&u->waiting));)
        finish(c, entry, status, 0);
}

// ---- contexts and devices

EXPORT int libusb_init(struct context **out)
{
    struct context *c = calloc(1, sizeof *c);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, &attributes);
    *out = c;
    return OK;
}

EXPORT int libusb_init_context(struct context **out, const void *options, int count)
{
    (void)options, (void)count;
    return libusb_init(out);
}

EXPORT void libusb_exit(struct context *c)
{
    free(c);
}

static struct usb_device *find_device(struct context *c, const char *root, const char *name)
{
    struct box box;
    struct usb_device *device = NULL;
    if (box_attach(&box, root, name) < 0)
        return NULL;
    box_lock(&box);
    const struct state *s = box.state;
    if (s->present) {
        device = calloc(1, sizeof *device);
        device->context = c;
        device->references = 1;
        snprintf(device->name, sizeof device->name, "%.63s", name);
        device->bus = atoi(s->port);
        device->number = s->device_number;
        device->product = strtol(s->product_id, NULL, 16);
        for (const char *at = strchr(s->port, '-'); at && device->depth < 8; at = strchr(at, '.'))
            device->ports[device->depth++] = atoi(++at);
    }
    box_unlock(&box);
    box_detach(&box);
    return device;
}

EXPORT ssize_t libusb_get_device_list(struct context *c, struct usb_device ***out)
{
    const char *root = virtual_root();
    struct usb_device **list = calloc(64, sizeof *list);
    ssize_t count = 0;
    char path[640];
    if (root) {
        plug_settle(root);
        snprintf(path, sizeof path, "%s/boxes", root);
        DIR *folder = opendir(path);
        for (struct dirent *entry; folder && count < 63 && (entry = readdir(folder));) {
            struct usb_device *device =
                entry->d_name[0] == '.' ? NULL : find_device(c, root, entry->d_name);
            if (device)
                list[count++] = device;
        }
        if (folder)
            closedir(folder);
    }
    *out = list;
    return count;
}

EXPORT struct usb_device *libusb_ref_device(struct usb_device *device)
{
    __atomic_add_fetch(&device->references, 1, __ATOMIC_SEQ_CST);
    return device;
}

EXPORT void libusb_unref_device(struct usb_device *device)
{
    if (__atomic_sub_fetch(&device->references, 1, __ATOMIC_SEQ_CST) == 0)
        free(device);
}

EXPORT void libusb_free_device_list(struct usb_device **list, int unref)
{
    for (struct usb_device **device = list; unref && *device; device++)
        libusb_unref_device(*device);
    free(list);
}

EXPORT u8 libusb_get_bus_number(const struct usb_device *device)
{
    return device->bus;
}

EXPORT u8 libusb_get_device_address(const struct usb_device *device)
{
    return device->number;
}

EXPORT int libusb_get_port_numbers(const struct usb_device *device, u8 *ports, int room)
{
    memcpy(ports, device->ports, device->depth < room ? device->depth : room);
    return device->depth;
}

EXPORT u8 libusb_get_port_number(const struct usb_device *device)
{
    return device->ports[device->depth - 1];
}

EXPORT int libusb_get_device_speed(const struct usb_device *device)
{
    (void)device;
    return SUPER_SPEED;
}

// Without configurations: who wants these descriptors reads them from sysfs, as the driver does.
EXPORT int libusb_get_device_descriptor(const struct usb_device *device, u8 *out)
{
    u8 descriptor[18] = {18, 1, 0x10, 3, 0xEF, 2, 1, 9, 0xB4, 4, device->product & 0xFF,
                         device->product >> 8, 0, 0, 1, 2, 0, 0};
    memcpy(out, descriptor, sizeof descriptor);
    return OK;
}

// ---- an opened device

EXPORT int libusb_open(struct usb_device *device, struct usb_handle **out)
{
    const char *root = virtual_root();
    struct usb_handle *u = calloc(1, sizeof *u);
    if (!root || box_attach(&u->h.box, root, device->name) < 0) {
        free(u);
        return ERROR_NO_DEVICE;
    }
    struct state *s = u->h.box.state;
    int error = !s->present || s->device_number != device->number ? ERROR_NO_DEVICE
                : s->reset_errno == EACCES ? ERROR_ACCESS : OK;
    if (error) {
        box_detach(&u->h.box);
        free(u);
        return error;
    }
    u->h.node = NODE_USB;
    u->h.pid = getpid();
    u->h.privilege = u->h.memory = -1;
    u->h.generation = s->generation;
    u->device = libusb_ref_device(device);
    struct context *c = device->context;
    pthread_mutex_lock(&c->lock);
    u->next = c->handles;
    c->handles = u;
    pthread_mutex_unlock(&c->lock);
    *out = u;
    return OK;
}

static void stop(struct usb_handle *u)
{
    if (u->h.streaming)
        stream_stop(&u->h);
}

EXPORT void libusb_close(struct usb_handle *u)
{
    struct context *c = u->device->context;
    stop(u);
    pthread_mutex_lock(&c->lock);
    finish_all(c, u, TRANSFER_CANCELLED);
    for (struct usb_handle **at = &c->handles; *at; at = &(*at)->next)
        if (*at == u) {
            *at = u->next;
            break;
        }
    pthread_mutex_unlock(&c->lock);
    box_lock(&u->h.box);
    bool mine = u->h.privilege >= 0 && handle_alive(&u->h);
    release(&u->h);
    if (mine && u->h.box.state->claimed)
        plug_driver_locked(&u->h.box, false, 0);
    box_unlock(&u->h.box);
    box_detach(&u->h.box);
    libusb_unref_device(u->device);
    free(u);
}

EXPORT struct usb_device *libusb_get_device(struct usb_handle *u)
{
    return u->device;
}

EXPORT int libusb_kernel_driver_active(struct usb_handle *u, int interface)
{
    (void)interface;
    return handle_alive(&u->h) ? !u->h.box.state->detached : ERROR_NO_DEVICE;
}

#define LOCKED(u, ...)                                                                           \
    int result = OK;                                                                             \
    box_lock(&(u)->h.box);                                                                       \
    struct state *s = (u)->h.box.state;                                                          \
    if (!handle_alive(&(u)->h))                                                                  \
        result = ERROR_NO_DEVICE;                                                                \
    else                                                                                         \
        __VA_ARGS__;                                                                             \
    box_unlock(&(u)->h.box);                                                                     \
    box_poke(&(u)->h.box);                                                                       \
    return result;

EXPORT int libusb_set_auto_detach_kernel_driver(struct usb_handle *u, int enable)
{
    u->automatic = enable;
    return OK;
}

// Who has the video nodes open loses the device.
static void detach_locked(struct usb_handle *u)
{
    plug_driver_locked(&u->h.box, false, 0);
    u->h.generation = ++u->h.box.state->generation;
}

EXPORT int libusb_detach_kernel_driver(struct usb_handle *u, int interface)
{
    (void)interface;
    LOCKED(u, {
        if (s->detached)
            result = ERROR_NOT_FOUND;
        else
            detach_locked(u);
    })
}

EXPORT int libusb_attach_kernel_driver(struct usb_handle *u, int interface)
{
    (void)interface;
    LOCKED(u, {
        if (s->claimed)
            result = ERROR_BUSY;
        else if (s->detached)
            plug_driver_locked(&u->h.box, true, 0);
    })
}

EXPORT int libusb_claim_interface(struct usb_handle *u, int interface)
{
    LOCKED(u, {
        if (!s->detached && u->automatic)
            detach_locked(u);
        if (!s->detached || acquire(&u->h) < 0)
            result = ERROR_BUSY;
        else
            plug_driver_locked(&u->h.box, false, s->claimed | 1 << interface);
    })
}

EXPORT int libusb_release_interface(struct usb_handle *u, int interface)
{
    LOCKED(u, {
        plug_driver_locked(&u->h.box, false, s->claimed & ~(1 << interface));
        if (!s->claimed)
            release(&u->h);
        if (!s->claimed && u->automatic)
            plug_driver_locked(&u->h.box, true, 0);
    })
}

EXPORT int libusb_clear_halt(struct usb_handle *u, unsigned char endpoint)
{
    (void)endpoint;
    if (!handle_alive(&u->h))
        return ERROR_NO_DEVICE;
    stop(u);
    return OK;
}

// ---- control transfers

static const u32 unit_controls[] = {
    [2] = V4L2_CID_BRIGHTNESS, [3] = V4L2_CID_CONTRAST, [4] = V4L2_CID_GAIN, [6] = V4L2_CID_HUE,
    [7] = V4L2_CID_SATURATION, [8] = V4L2_CID_SHARPNESS, [9] = V4L2_CID_GAMMA};

static void put_number(u8 *data, u64 value, int size)
{
    for (int i = 0; i < size; i++)
        data[i] = value >> (8 * i);
}

static u32 number(const u8 *data, int size)
{
    u32 value = 0;
    for (int i = 0; i < size; i++)
        value |= (u32)data[i] << (8 * i);
    return value;
}

// GET_INFO says 3, that it can be read and set: no AUTO_UPDATE, hence the kernel's cache.
static int about_control(int request, int length, u8 *data, int size)
{
    int answer = request == UVC_GET_INFO ? 1 : request == UVC_GET_LEN ? 2 : length;
    if (size < answer)
        return ERROR_PIPE;
    put_number(data, request == UVC_GET_INFO ? 3 : request == UVC_GET_LEN ? length
                     : request == UVC_GET_RES, answer);
    return answer;
}

static bool is_about(int request)
{
    return request == UVC_GET_INFO || request == UVC_GET_LEN || request == UVC_GET_RES ||
           request == UVC_GET_DEF;
}

static int processing_unit(struct usb_handle *u, int request, int selector, u8 *data, int size)
{
    struct state *s = u->h.box.state;
    u32 id = selector < 10 ? unit_controls[selector] : 0;
    if (id && is_about(request))
        return about_control(request, 2, data, size);
    if (!id || size < 2)
        return ERROR_PIPE;
    if (request == UVC_SET_CUR)
        return controls_write(&u->h, id, number(data, 2)) ? ERROR_TIMEOUT : 2;
    put_number(data, request == UVC_GET_MIN ? 0 : request == UVC_GET_MAX ? s->control_maximum
                     : controls_read(s, id), 2);
    return 2;
}

static int camera_terminal(struct usb_handle *u, int request, int selector, u8 *data, int size)
{
    struct state *s = u->h.box.state;
    bool pantilt = selector == UVC_CT_PANTILT_ABSOLUTE_CONTROL;
    if (!pantilt && selector != UVC_CT_EXPOSURE_TIME_ABSOLUTE_CONTROL)
        return ERROR_PIPE;
    if (is_about(request))
        return about_control(request, pantilt ? 8 : 4, data, size);
    if (request == UVC_SET_CUR || size < (pantilt ? 8 : 4))
        return ERROR_PIPE;
    memset(data, request == UVC_GET_MAX ? 0xFF : 0, pantilt ? 8 : 4);
    if (request == UVC_GET_CUR) {
        put_number(data, controls_read(s, pantilt ? V4L2_CID_PAN_ABSOLUTE
                                                  : V4L2_CID_EXPOSURE_ABSOLUTE), 4);
        if (pantilt)
            put_number(data + 4, controls_read(s, V4L2_CID_TILT_ABSOLUTE), 4);
    }
    return pantilt ? 8 : 4;
}

static int extension_unit(struct usb_handle *u, int unit, int request, int selector, u8 *data,
                          int size)
{
    struct uvc_xu_control_query query = {
        .unit = unit, .selector = selector, .query = request, .size = size, .data = data};
    return unit_query(&u->h, &query) < 0 ? ERROR_PIPE : size;
}

static int commit(struct usb_handle *u)
{
    struct state *s = u->h.box.state;
    int frame = s->probe[3];
    if (frame < 1 || frame > 9)
        return ERROR_PIPE;
    if (s->stream_errno)
        return ERROR_IO;
    s->width = sizes[frame - 1].width;
    s->height = sizes[frame - 1].height;
    return OK;
}

static int streaming_interface(struct usb_handle *u, int request, int selector, u8 *data,
                               int size)
{
    struct state *s = u->h.box.state;
    size = size < 34 ? size : 34;
    if (selector != UVC_VS_PROBE_CONTROL && selector != UVC_VS_COMMIT_CONTROL)
        return ERROR_PIPE;
    if (request != UVC_SET_CUR) {
        memcpy(data, s->probe, size);
        return size;
    }
    if (s->format_errno)
        return ERROR_PIPE;
    memcpy(s->probe, data, size);
    int frame = s->probe[3] >= 1 && s->probe[3] <= 9 ? s->probe[3] : 1;
    s->probe[2] = 1;
    s->probe[3] = frame;
    put_number(s->probe + 4, 333333, 4);
    put_number(s->probe + 18, 2 * sizes[frame - 1].width * sizes[frame - 1].height, 4);
    put_number(s->probe + 22, 16380, 4);
    return selector == UVC_VS_COMMIT_CONTROL && commit(u) ? ERROR_PIPE : size;
}

EXPORT int libusb_control_transfer(struct usb_handle *u, u8 type, u8 request, u16 value,
                                   u16 index, u8 *data, u16 size, unsigned int timeout)
{
    (void)timeout;
    struct state *s = u->h.box.state;
    int result, selector = value >> 8, entity = index >> 8;
    if (s->control_ns)
        usleep(s->control_ns / 1000);
    box_lock(&u->h.box);
    if (!handle_alive(&u->h))
        result = ERROR_NO_DEVICE;
    else if (type != 0x21 && type != 0xA1)
        result = ERROR_PIPE;
    else if ((index & 0xFF) == 1)
        result = streaming_interface(u, request, selector, data, size);
    else if (request != UVC_SET_CUR && s->read_errno)
        result = ERROR_TIMEOUT;
    else if (entity == TERMINAL)
        result = camera_terminal(u, request, selector, data, size);
    else if (entity == UNIT)
        result = processing_unit(u, request, selector, data, size);
    else
        result = extension_unit(u, entity, request, selector, data, size);
    box_unlock(&u->h.box);
    if (result >= 0 && type == 0x21 && (index & 0xFF) == 1 && selector == UVC_VS_COMMIT_CONTROL) {
        stop(u);
        u->h.count = 1;  // the painter's one image
        stream_run(&u->h, usb_thread);
    }
    return result;
}

// ---- bulk transfers

EXPORT struct transfer *libusb_alloc_transfer(int iso_packets)
{
    (void)iso_packets;
    struct entry *entry = calloc(1, sizeof *entry);
    return &entry->transfer;
}

EXPORT void libusb_free_transfer(struct transfer *transfer)
{
    if (transfer)
        free(entry_of(transfer));
}

EXPORT int libusb_submit_transfer(struct transfer *transfer)
{
    struct usb_handle *u = transfer->handle;
    struct context *c = u->device->context;
    if (transfer->endpoint != ENDPOINT)
        return ERROR_INVALID;
    if (!handle_alive(&u->h))
        return ERROR_NO_DEVICE;
    u32 limit = u->h.box.state->usb_transfers;
    pthread_mutex_lock(&c->lock);
    bool room = !limit || u->out < limit;
    if (room) {
        append(&u->waiting, entry_of(transfer));
        u->out++;
    }
    pthread_mutex_unlock(&c->lock);
    return room ? OK : ERROR_NO_MEM;
}

EXPORT int libusb_cancel_transfer(struct transfer *transfer)
{
    struct usb_handle *u = transfer->handle;
    struct context *c = u->device->context;
    pthread_mutex_lock(&c->lock);
    bool found = take_out(&u->waiting, entry_of(transfer));
    if (found)
        finish(c, entry_of(transfer), TRANSFER_CANCELLED, 0);
    pthread_mutex_unlock(&c->lock);
    return found ? OK : ERROR_NOT_FOUND;
}

// Whether a transfer waits for data.
bool usb_room(struct handle *h)
{
    struct usb_handle *u = (struct usb_handle *)h;
    struct context *c = u->device->context;
    pthread_mutex_lock(&c->lock);
    bool room = u->waiting.first != NULL;
    pthread_mutex_unlock(&c->lock);
    return room;
}

// Called by the box's thread: hand a payload over; false: no transfer waits.
bool usb_emit(struct handle *h, const u8 *data, int size, bool failed)
{
    struct usb_handle *u = (struct usb_handle *)h;
    struct context *c = u->device->context;
    pthread_mutex_lock(&c->lock);
    struct entry *entry = take_first(&u->waiting);
    if (entry) {
        int room = entry->transfer.length;
        memcpy(entry->transfer.buffer, data, size < room ? size : room);
        finish(c, entry, failed ? TRANSFER_ERROR : size > room ? TRANSFER_OVERFLOW
                                                               : TRANSFER_COMPLETED,
               failed ? 0 : size < room ? size : room);
    }
    pthread_mutex_unlock(&c->lock);
    return entry != NULL;
}

// ---- events

EXPORT int libusb_handle_events_timeout(struct context *c, struct timeval *wait)
{
    i64 end = now_ns() + wait->tv_sec * 1000000000LL + wait->tv_usec * 1000LL;
    struct timespec until = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
    pthread_mutex_lock(&c->lock);
    for (int waited = 0; !c->done.first && waited != ETIMEDOUT;) {
        for (struct usb_handle *u = c->handles; u; u = u->next)
            if (!handle_alive(&u->h))
                finish_all(c, u, TRANSFER_NO_DEVICE);
        if (!c->done.first)
            waited = pthread_cond_timedwait(&c->changed, &c->lock, &until);
    }
    struct list done = c->done;
    c->done = (struct list){0};
    for (struct entry *entry = done.first; entry; entry = entry->next)
        entry->transfer.handle->out--;
    pthread_mutex_unlock(&c->lock);
    for (struct entry *entry; (entry = take_first(&done));)
        entry->transfer.callback(&entry->transfer);
    return OK;
}

EXPORT int libusb_handle_events(struct context *c)
{
    return libusb_handle_events_timeout(c, &(struct timeval){.tv_sec = 60});
}

EXPORT int libusb_handle_events_completed(struct context *c, int *completed)
{
    (void)completed;
    return libusb_handle_events(c);
}

EXPORT int libusb_handle_events_locked(struct context *c, struct timeval *wait)
{
    return libusb_handle_events_timeout(c, wait);
}

// ---- what the binding looks up when it is loaded, and the driver does not use

#define UNSUPPORTED(name)                                                                        \
    EXPORT int name(void);                                                                       \
    EXPORT int name(void)                                                                        \
    {                                                                                            \
        return ERROR_NOT_SUPPORTED;                                                              \
    }
UNSUPPORTED(libusb_bulk_transfer)
UNSUPPORTED(libusb_interrupt_transfer)
UNSUPPORTED(libusb_set_configuration)
UNSUPPORTED(libusb_set_interface_alt_setting)
UNSUPPORTED(libusb_reset_device)
UNSUPPORTED(libusb_get_configuration)
UNSUPPORTED(libusb_get_config_descriptor)
UNSUPPORTED(libusb_get_active_config_descriptor)
UNSUPPORTED(libusb_get_config_descriptor_by_value)
UNSUPPORTED(libusb_get_max_packet_size)
UNSUPPORTED(libusb_get_max_iso_packet_size)
UNSUPPORTED(libusb_get_string_descriptor_ascii)
UNSUPPORTED(libusb_hotplug_register_callback)
UNSUPPORTED(libusb_wrap_sys_device)

#define NOTHING(name)                                                                            \
    EXPORT long name(void);                                                                      \
    EXPORT long name(void)                                                                       \
    {                                                                                            \
        return 0;                                                                                \
    }
NOTHING(libusb_set_debug)
NOTHING(libusb_set_log_cb)
NOTHING(libusb_setlocale)
NOTHING(libusb_get_parent)
NOTHING(libusb_free_config_descriptor)
NOTHING(libusb_free_pollfds)
NOTHING(libusb_get_pollfds)
NOTHING(libusb_get_next_timeout)
NOTHING(libusb_set_pollfd_notifiers)
NOTHING(libusb_hotplug_deregister_callback)
NOTHING(libusb_open_device_with_vid_pid)
NOTHING(libusb_event_handler_active)
NOTHING(libusb_event_handling_ok)
NOTHING(libusb_interrupt_event_handler)
NOTHING(libusb_lock_event_waiters)
NOTHING(libusb_lock_events)
NOTHING(libusb_try_lock_events)
NOTHING(libusb_unlock_event_waiters)
NOTHING(libusb_unlock_events)
NOTHING(libusb_wait_for_event)
NOTHING(libusb_has_capability)

EXPORT const char *libusb_error_name(int error)
{
    static const char *const names[] = {"SUCCESS", "IO", "INVALID_PARAM", "ACCESS", "NO_DEVICE",
                                        "NOT_FOUND", "BUSY", "TIMEOUT", "OVERFLOW", "PIPE",
                                        "INTERRUPTED", "NO_MEM", "NOT_SUPPORTED"};
    return error <= 0 && error >= -12 ? names[-error] : "OTHER";
}

EXPORT const char *libusb_strerror(int error)
{
    return libusb_error_name(error);
}

EXPORT const void *libusb_get_version(void)
{
    static const struct { u16 numbers[4]; const char *candidate, *text; } version = {
        {1, 0, 26, 0}, "", "virtual DAQ box"};
    return &version;
}
