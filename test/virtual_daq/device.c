// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// An opened device node, as uvcvideo and videobuf2 would behave: formats, buffers, streaming.

#define _GNU_SOURCE
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/usbdevice_fs.h>
#include <linux/uvcvideo.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

const struct size sizes[] = {
    {608, 608}, {2592, 1944}, {1296, 972}, {752, 480}, {1024, 768},
    {800, 800}, {1000, 1000}, {1500, 1500}, {1800, 1800}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static int fail(int error)
{
    errno = error;
    return -1;
}

bool handle_alive(const struct handle *h)
{
    const struct state *s = h->box.state;
    return s->present && s->generation == h->generation;
}

// Bring the descriptor's readiness to the wanted level; with the box locked.
void handle_signal(struct handle *h, bool readable)
{
    u64 one = 1;
    if (readable == h->readable)
        return;
    h->readable = readable;
    if ((readable ? write(h->event, &one, sizeof one) : read(h->event, &one, sizeof one)) < 0)
        perror("virtual_daq: eventfd");
}

// ---- opening and closing

// A node is a small text file: "virtual_daq <kind> <box>".
int device_open(const char *node, int flags)
{
    char text[128] = "", kind[16], name[64];
    int file = open(node, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    if (size <= 0 || sscanf(text, "virtual_daq %15s %63s", kind, name) != 2)
        return -2;
    struct handle *h = calloc(1, sizeof *h);
    h->node = *kind == 'c' ? NODE_CAPTURE : *kind == 'm' ? NODE_METADATA : NODE_USB;
    h->pid = getpid();
    h->privilege = h->memory = -1;
    if (box_attach(&h->box, virtual_root(), name) < 0) {
        free(h);
        return fail(ENXIO);
    }
    struct state *s = h->box.state;
    h->generation = s->generation;
    h->number = s->number + (h->node == NODE_METADATA);
    int error = !s->present ? ENODEV
                : h->node != NODE_USB ? s->open_errno
                : (flags & O_ACCMODE) != O_RDONLY ? s->reset_errno : 0;
    if (error) {
        box_detach(&h->box);
        free(h);
        return fail(error);
    }
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    h->event = fcntl(fd, F_DUPFD_CLOEXEC, 0);  // the client may close its own
    fcntl(fd, F_SETFL, flags & O_NONBLOCK);
    h->writable = (flags & O_ACCMODE) != O_RDONLY;
    handle_install(fd, h);
    return fd;
}

int acquire(struct handle *h)
{
    char file[32];
    if (h->privilege >= 0)
        return 0;
    snprintf(file, sizeof file, "lock.%d", h->generation);
    h->privilege = box_file(&h->box, file, O_RDWR | O_CREAT);
    if (flock(h->privilege, LOCK_EX | LOCK_NB) == 0)
        return 0;
    close(h->privilege);
    h->privilege = -1;
    return fail(EBUSY);
}

void release(struct handle *h)
{
    if (h->privilege >= 0)
        close(h->privilege);
    h->privilege = -1;
}

static void free_buffers(struct handle *h)
{
    if (h->memory >= 0)
        close(h->memory);
    h->memory = -1;
    h->count = 0;
}

void device_free(struct handle *h)
{
    if (h->streaming)
        stream_stop(h);
    free_buffers(h);
    release(h);
    close(h->event);
    box_detach(&h->box);
    free(h);
}

// ---- description and formats

static int query_capabilities(struct handle *h, struct v4l2_capability *c)
{
    struct state *s = h->box.state;
    u32 here = h->node == NODE_CAPTURE ? V4L2_CAP_VIDEO_CAPTURE : V4L2_CAP_META_CAPTURE;
    memset(c, 0, sizeof *c);
    strcpy((char *)c->driver, "uvcvideo");
    memcpy(c->card, s->card, sizeof c->card);
    snprintf((char *)c->bus_info, sizeof c->bus_info, "usb-0000:00:99.0-%s",
             strchr(s->port, '-') + 1);
    c->version = 6 << 16 | 12 << 8;
    c->device_caps = here | V4L2_CAP_STREAMING | V4L2_CAP_EXT_PIX_FORMAT;
    c->capabilities = c->device_caps | V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_META_CAPTURE |
                      V4L2_CAP_DEVICE_CAPS;
    return 0;
}

static int enumerate_format(struct v4l2_fmtdesc *f)
{
    if (f->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || f->index > 0)
        return fail(EINVAL);
    *f = (struct v4l2_fmtdesc){.type = f->type, .pixelformat = V4L2_PIX_FMT_YUYV};
    strcpy((char *)f->description, "YUYV 4:2:2");
    return 0;
}

static int enumerate_size(struct v4l2_frmsizeenum *f)
{
    if (f->pixel_format != V4L2_PIX_FMT_YUYV || f->index >= SIZES)
        return fail(EINVAL);
    *f = (struct v4l2_frmsizeenum){
        .index = f->index, .pixel_format = V4L2_PIX_FMT_YUYV, .type = V4L2_FRMSIZE_TYPE_DISCRETE,
        .discrete = {sizes[f->index].width, sizes[f->index].height}};
    return 0;
}

static int enumerate_interval(struct v4l2_frmivalenum *f)
{
    bool known = false;
    for (int i = 0; i < SIZES; i++)
        known |= f->width == (u32)sizes[i].width && f->height == (u32)sizes[i].height;
    if (!known || f->pixel_format != V4L2_PIX_FMT_YUYV || f->index > 0)
        return fail(EINVAL);
    f->type = V4L2_FRMIVAL_TYPE_DISCRETE;
    f->discrete = (struct v4l2_fract){1, 30};
    memset(f->reserved, 0, sizeof f->reserved);
    return 0;
}

static void fill_format(struct v4l2_pix_format *p, int width, int height)
{
    memset(p, 0, sizeof *p);
    p->width = width;
    p->height = height;
    p->pixelformat = V4L2_PIX_FMT_YUYV;
    p->field = V4L2_FIELD_NONE;
    p->bytesperline = 2 * width;
    p->sizeimage = 2 * width * height;
    p->colorspace = V4L2_COLORSPACE_SRGB;
}

// The size that overlaps best, as uvcvideo chooses.
static void nearest_format(struct v4l2_pix_format *p)
{
    i64 best = INT64_MAX;
    int chosen = 0, width = p->width, height = p->height;
    for (int i = 0; i < SIZES; i++) {
        i64 w = sizes[i].width < width ? sizes[i].width : width;
        i64 h = sizes[i].height < height ? sizes[i].height : height;
        i64 distance = (i64)sizes[i].width * sizes[i].height + (i64)width * height - 2 * w * h;
        if (distance < best) {
            best = distance;
            chosen = i;
        }
    }
    fill_format(p, sizes[chosen].width, sizes[chosen].height);
}

// Claim the right to set a format: nobody else has the device, and no buffer has a size yet.
int claim_format(struct handle *h)
{
    if (h->box.state->format_errno)
        return fail(h->box.state->format_errno);
    if (acquire(h) < 0)
        return -1;
    return h->count ? fail(EBUSY) : 0;
}

static int format(struct handle *h, unsigned long request, struct v4l2_format *f)
{
    struct state *s = h->box.state;
    if (f->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
        return fail(EINVAL);
    if (request == VIDIOC_G_FMT) {
        fill_format(&f->fmt.pix, s->width, s->height);
        return 0;
    }
    if (request == VIDIOC_S_FMT && claim_format(h) < 0)
        return -1;
    nearest_format(&f->fmt.pix);
    if (request == VIDIOC_S_FMT) {
        s->width = f->fmt.pix.width;
        s->height = f->fmt.pix.height;
    }
    return 0;
}

static int parameters(struct handle *h, unsigned long request, struct v4l2_streamparm *p)
{
    if (p->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
        return fail(EINVAL);
    if (request == VIDIOC_S_PARM) {
        if (acquire(h) < 0)
            return -1;
        if (h->streaming)
            return fail(EBUSY);
    }
    memset(&p->parm, 0, sizeof p->parm);
    p->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
    p->parm.capture.timeperframe = (struct v4l2_fract){1, 30};
    return 0;
}

static int crop_capabilities(struct handle *h, struct v4l2_cropcap *c)
{
    if (c->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
        return fail(EINVAL);
    c->bounds = (struct v4l2_rect){0, 0, h->box.state->width, h->box.state->height};
    c->defrect = c->bounds;
    c->pixelaspect = (struct v4l2_fract){1, 1};
    return 0;
}

static int enumerate_input(struct v4l2_input *i)
{
    if (i->index > 0)
        return fail(EINVAL);
    memset(i, 0, sizeof *i);
    strcpy((char *)i->name, "Camera 1");
    i->type = V4L2_INPUT_TYPE_CAMERA;
    return 0;
}

// ---- buffers and streaming

static bool is_capture(u32 type, u32 memory)
{
    return type == V4L2_BUF_TYPE_VIDEO_CAPTURE && memory == V4L2_MEMORY_MMAP;
}

static int request_buffers(struct handle *h, struct v4l2_requestbuffers *r)
{
    struct state *s = h->box.state;
    if (!is_capture(r->type, r->memory))
        return fail(EINVAL);
    if (acquire(h) < 0)
        return -1;
    if (h->streaming)
        return fail(EBUSY);
    free_buffers(h);
    r->flags = 0;
    r->capabilities = V4L2_BUF_CAP_SUPPORTS_MMAP | V4L2_BUF_CAP_SUPPORTS_ORPHANED_BUFS;
    if (r->count == 0) {
        release(h);
        return 0;
    }
    r->count = r->count > BUFFERS ? BUFFERS : r->count;
    long page = sysconf(_SC_PAGESIZE);
    h->length = is_camera(s) ? camera_frame_size(s) : 2U * s->width * s->height;
    h->stride = (h->length + page - 1) / page * page;
    h->memory = memfd_create("virtual_daq", MFD_CLOEXEC);
    if (h->memory < 0 || ftruncate(h->memory, (off_t)h->stride * r->count) < 0)
        return fail(ENOMEM);
    h->count = r->count;
    memset(h->buffers, 0, sizeof h->buffers);
    return 0;
}

static void describe_buffer(struct handle *h, struct v4l2_buffer *v)
{
    struct buffer *b = &h->buffers[v->index];
    v->type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    v->memory = V4L2_MEMORY_MMAP;
    v->bytesused = b->bytes;
    v->flags = V4L2_BUF_FLAG_TSTAMP_SRC_SOE | V4L2_BUF_FLAG_MAPPED | b->flags;
    if (b->state == DONE)
        v->flags |= V4L2_BUF_FLAG_DONE;
    else if (b->state != IDLE)
        v->flags |= V4L2_BUF_FLAG_QUEUED;
    v->field = V4L2_FIELD_NONE;
    v->timestamp.tv_sec = b->stamp_ns / 1000000000;
    v->timestamp.tv_usec = b->stamp_ns % 1000000000 / 1000;
    v->sequence = b->sequence;
    v->m.offset = v->index * h->stride;
    v->length = h->length;
}

static int queue_buffer(struct handle *h, struct v4l2_buffer *v)
{
    if (!is_capture(v->type, v->memory) || v->index >= h->count ||
        h->buffers[v->index].state != IDLE)
        return fail(EINVAL);
    struct buffer *b = &h->buffers[v->index];
    *b = (struct buffer){.state = QUEUED, .queued_ns = now_ns(), .order = h->order++};
    describe_buffer(h, v);
    return 0;
}

// Called with the box locked; waits without the lock.
static int dequeue_buffer(struct handle *h, int fd, struct v4l2_buffer *v)
{
    if (!is_capture(v->type, v->memory))
        return fail(EINVAL);
    while (true) {
        if (!handle_alive(h))
            return fail(ENODEV);
        if (!h->streaming)
            return fail(EINVAL);
        int oldest = -1, done = 0;
        for (u32 i = 0; i < h->count; i++)
            if (h->buffers[i].state == DONE) {
                done++;
                if (oldest < 0 || h->buffers[i].order < h->buffers[oldest].order)
                    oldest = i;
            }
        if (oldest >= 0) {
            h->buffers[oldest].state = IDLE;
            v->index = oldest;
            describe_buffer(h, v);
            h->box.state->dequeued++;
            handle_signal(h, done > 1);
            return 0;
        }
        if (fcntl(fd, F_GETFL) & O_NONBLOCK)
            return fail(EAGAIN);
        box_unlock(&h->box);
        struct pollfd ready = {.fd = h->event, .events = POLLIN};
        int waited = poll(&ready, 1, -1);
        int error = errno;
        box_lock(&h->box);
        if (waited < 0)
            return fail(error);
    }
}

static int stream_on(struct handle *h)
{
    struct state *s = h->box.state;
    if (acquire(h) < 0)
        return -1;
    if (h->streaming)
        return 0;
    if (!h->count)
        return fail(EINVAL);
    if (s->stream_errno)
        return fail(s->stream_errno);
    int error = stream_start(h);
    return error ? fail(error) : 0;
}

// Called with the box locked; the thread is joined without the lock.
static int stream_off(struct handle *h)
{
    if (h->streaming) {
        box_unlock(&h->box);
        stream_stop(h);
        box_lock(&h->box);
    }
    for (u32 i = 0; i < h->count; i++)
        h->buffers[i].state = IDLE;
    handle_signal(h, false);
    return 0;
}

static int capture_ioctl(struct handle *h, int fd, unsigned long request, void *argument)
{
    struct v4l2_buffer *v = argument;
    bool known = is_camera(h->box.state);
    int answer = known ? camera_ioctl(h, request, argument, &known) : 0;
    if (known)
        return answer;
    known = true;
    switch (request) {
    case VIDIOC_ENUM_FMT: return enumerate_format(argument);
    case VIDIOC_ENUM_FRAMESIZES: return enumerate_size(argument);
    case VIDIOC_ENUM_FRAMEINTERVALS: return enumerate_interval(argument);
    case VIDIOC_G_FMT: case VIDIOC_S_FMT: case VIDIOC_TRY_FMT:
        return format(h, request, argument);
    case VIDIOC_G_PARM: case VIDIOC_S_PARM: return parameters(h, request, argument);
    case VIDIOC_CROPCAP: return crop_capabilities(h, argument);
    case VIDIOC_ENUMINPUT: return enumerate_input(argument);
    case VIDIOC_G_INPUT: *(int *)argument = 0; return 0;
    case VIDIOC_S_INPUT: return *(int *)argument ? fail(EINVAL) : 0;
    case VIDIOC_REQBUFS: return request_buffers(h, argument);
    case VIDIOC_QUERYBUF:
        if (v->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || v->index >= h->count)
            return fail(EINVAL);
        describe_buffer(h, v);
        return 0;
    case VIDIOC_QBUF: return queue_buffer(h, v);
    case VIDIOC_DQBUF: return dequeue_buffer(h, fd, v);
    case VIDIOC_STREAMON:
    case VIDIOC_STREAMOFF:
        if (*(int *)argument != V4L2_BUF_TYPE_VIDEO_CAPTURE)
            return fail(EINVAL);
        return request == VIDIOC_STREAMON ? stream_on(h) : stream_off(h);
    }
    int result = controls_ioctl(h, request, argument, &known);
    return known ? result : fail(ENOTTY);
}

static int usb_ioctl(struct handle *h, unsigned long request, const void *argument)
{
    struct state *s = h->box.state;
    const struct usbdevfs_ioctl *inner = argument;
    if (request == USBDEVFS_IOCTL && inner->ioctl_code == (int)USBDEVFS_CONNECT) {
        if (s->claimed)
            return fail(EBUSY);
        plug_driver_locked(&h->box, true, 0);
        return 1;
    }
    if (request != USBDEVFS_RESET)
        return fail(ENOTTY);
    if (!h->writable)
        return fail(EPERM);
    s->frozen = 0;  // but for that the firmware goes on: queue, counter, polling, sync output
    unplug_locked(&h->box, s->reset_ns, s->reset_number);
    box_poke(&h->box);
    return 0;
}

int device_ioctl(struct handle *h, int fd, unsigned long request, void *argument)
{
    int result;
    request &= 0xFFFFFFFF;  // some callers sign-extend it
    if (!argument && request != USBDEVFS_RESET)
        return fail(EFAULT);
    if (h->node == NODE_CAPTURE && h->box.state->control_ns)
        if (request == VIDIOC_S_CTRL || request == VIDIOC_S_EXT_CTRLS ||
            request == VIDIOC_G_CTRL || request == VIDIOC_G_EXT_CTRLS ||
            request == UVCIOC_CTRL_QUERY)
            usleep(h->box.state->control_ns / 1000);
    if (h->node == NODE_CAPTURE && h->box.state->read_ns)
        if (request == VIDIOC_G_CTRL || request == VIDIOC_G_EXT_CTRLS)
            usleep(h->box.state->read_ns / 1000);
    box_lock(&h->box);
    if (!handle_alive(h))
        result = fail(ENODEV);
    else if (h->node == NODE_USB)
        result = usb_ioctl(h, request, argument);
    else if (request == VIDIOC_QUERYCAP)
        result = query_capabilities(h, argument);
    else if (h->node == NODE_METADATA)
        result = fail(request == VIDIOC_G_FMT || request == VIDIOC_S_FMT ||
                      request == VIDIOC_REQBUFS || request == VIDIOC_ENUM_FMT ? EINVAL : ENOTTY);
    else
        result = capture_ioctl(h, fd, request, argument);
    int error = errno;
    box_unlock(&h->box);
    errno = error;
    return result;
}

void *device_mmap(struct handle *h, void *address, size_t size, int protection, int flags,
                  i64 offset)
{
    if (h->memory < 0 || offset % h->stride || offset / h->stride >= h->count ||
        size > h->stride) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    return mmap(address, size, protection, flags, h->memory, offset);
}

// What poll() adds to the descriptor's own readiness.
short device_poll_error(struct handle *h)
{
    if (!handle_alive(h))
        return POLLERR | POLLHUP;
    return h->streaming ? 0 : POLLERR;
}
