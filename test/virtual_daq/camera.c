// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// A plain UVC camera in the place of a box: formats, sizes, rates, an exposure, and pictures that
// the harness prepared in each format. Called with the box locked. It has no firmware.

#define _GNU_SOURCE
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int fail(int error)
{
    errno = error;
    return -1;
}

bool is_camera(const struct state *s)
{
    return s->offers > 0;
}

// A compressed picture is at most as large as an uncompressed one, as cameras announce it.
static u32 offer_size(const struct state *s, int offer)
{
    int bytes = s->offer_format[offer] == V4L2_PIX_FMT_GREY ? 1 : 2;
    return bytes * s->offer_width[offer] * s->offer_height[offer];
}

u32 camera_frame_size(const struct state *s)
{
    return offer_size(s, s->offer);
}

// ---- what it offers

static bool is_first_of_format(const struct state *s, int offer)
{
    for (int i = 0; i < offer; i++)
        if (s->offer_format[i] == s->offer_format[offer])
            return false;
    return true;
}

static int enumerate_format(const struct state *s, struct v4l2_fmtdesc *f)
{
    u32 count = 0;
    if (f->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
        return fail(EINVAL);
    for (int i = 0; i < s->offers; i++)
        if (is_first_of_format(s, i) && count++ == f->index) {
            f->pixelformat = s->offer_format[i];
            f->flags = f->pixelformat == V4L2_PIX_FMT_MJPEG ? V4L2_FMT_FLAG_COMPRESSED : 0;
            snprintf((char *)f->description, sizeof f->description, "%.4s",
                     (const char *)&s->offer_format[i]);
            return 0;
        }
    return fail(EINVAL);
}

static int enumerate_size(const struct state *s, struct v4l2_frmsizeenum *f)
{
    u32 count = 0;
    for (int i = 0; i < s->offers; i++)
        if (s->offer_format[i] == f->pixel_format && count++ == f->index) {
            f->type = V4L2_FRMSIZE_TYPE_DISCRETE;
            f->discrete = (struct v4l2_frmsize_discrete){s->offer_width[i], s->offer_height[i]};
            return 0;
        }
    return fail(EINVAL);
}

static int find_offer(const struct state *s, u32 format, u32 width, u32 height)
{
    for (int i = 0; i < s->offers; i++)
        if (s->offer_format[i] == format && (u32)s->offer_width[i] == width &&
            (u32)s->offer_height[i] == height)
            return i;
    return -1;
}

static struct v4l2_fract interval(double rate)
{
    return (struct v4l2_fract){1000, (u32)lrint(1000 * rate)};
}

static int enumerate_interval(const struct state *s, struct v4l2_frmivalenum *f)
{
    int offer = find_offer(s, f->pixel_format, f->width, f->height);
    if (offer < 0 || f->index >= CHOICES || !s->offer_rate[CHOICES * offer + f->index])
        return fail(EINVAL);
    f->type = V4L2_FRMIVAL_TYPE_DISCRETE;
    f->discrete = interval(s->offer_rate[CHOICES * offer + f->index]);
    return 0;
}

// ---- what is set

static void fill_format(const struct state *s, int offer, struct v4l2_pix_format *p)
{
    memset(p, 0, sizeof *p);
    p->width = s->offer_width[offer];
    p->height = s->offer_height[offer];
    p->pixelformat = s->offer_format[offer];
    p->field = V4L2_FIELD_NONE;
    p->sizeimage = offer_size(s, offer);
    p->bytesperline = p->pixelformat == V4L2_PIX_FMT_MJPEG ? 0 : p->sizeimage / p->height;
    p->colorspace = V4L2_COLORSPACE_SRGB;
}

// The asked format, else the first one; of its sizes the one with the nearest area.
static int nearest_offer(const struct state *s, const struct v4l2_pix_format *p)
{
    u32 format = s->offer_format[0];
    int best = -1;
    i64 least = INT64_MAX;
    for (int i = 0; i < s->offers; i++)
        if (s->offer_format[i] == p->pixelformat)
            format = p->pixelformat;
    for (int i = 0; i < s->offers; i++) {
        i64 more = (i64)s->offer_width[i] * s->offer_height[i] - (i64)p->width * p->height;
        if (s->offer_format[i] == format && llabs(more) < least) {
            least = llabs(more);
            best = i;
        }
    }
    return best;
}

static void choose_rate(struct state *s, double asked)
{
    const double *rates = s->offer_rate + CHOICES * s->offer;
    s->rate = rates[0];
    for (int i = 1; i < CHOICES && rates[i]; i++)
        if (fabs(rates[i] - asked) < fabs(s->rate - asked))
            s->rate = rates[i];
}

void camera_choose(struct state *s, int offer)
{
    s->offer = offer;
    s->width = s->sensor_width = s->offer_width[offer];
    s->height = s->sensor_height = s->offer_height[offer];
    choose_rate(s, s->rate);
}

static int format(struct handle *h, unsigned long request, struct v4l2_format *f)
{
    struct state *s = h->box.state;
    int offer = s->offer;
    if (f->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
        return fail(EINVAL);
    if (request != VIDIOC_G_FMT)
        offer = nearest_offer(s, &f->fmt.pix);
    if (request == VIDIOC_S_FMT) {
        if (claim_format(h) < 0)
            return -1;
        camera_choose(s, offer);
    }
    fill_format(s, offer, &f->fmt.pix);
    return 0;
}

static int parameters(struct handle *h, unsigned long request, struct v4l2_streamparm *p)
{
    struct state *s = h->box.state;
    struct v4l2_fract asked = p->parm.capture.timeperframe;
    if (p->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
        return fail(EINVAL);
    if (request == VIDIOC_S_PARM) {
        if (acquire(h) < 0)
            return -1;
        if (h->streaming)
            return fail(EBUSY);
        if (asked.numerator && asked.denominator)
            choose_rate(s, (double)asked.denominator / asked.numerator);
    }
    memset(&p->parm, 0, sizeof p->parm);
    p->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
    p->parm.capture.timeperframe = interval(s->rate);
    return 0;
}

// ---- exposure

enum { EXPOSURE_LOW = 3, EXPOSURE_HIGH = 2047 };  // [0.1 ms]

static int query_control(const struct state *s, struct v4l2_queryctrl *q)
{
    u32 id = q->id;
    bool automatic = id == V4L2_CID_EXPOSURE_AUTO;
    if (s->fixed_exposure || (!automatic && id != V4L2_CID_EXPOSURE_ABSOLUTE))
        return fail(EINVAL);
    *q = (struct v4l2_queryctrl){
        .id = id, .type = automatic ? V4L2_CTRL_TYPE_MENU : V4L2_CTRL_TYPE_INTEGER,
        .minimum = automatic ? V4L2_EXPOSURE_AUTO : EXPOSURE_LOW,
        .maximum = automatic ? V4L2_EXPOSURE_APERTURE_PRIORITY : EXPOSURE_HIGH, .step = 1,
        .default_value = V4L2_EXPOSURE_APERTURE_PRIORITY};
    return 0;
}

static i32 *control(struct state *s, u32 id)
{
    if (s->fixed_exposure)
        return NULL;
    return id == V4L2_CID_EXPOSURE_AUTO       ? &s->exposure_mode
           : id == V4L2_CID_EXPOSURE_ABSOLUTE ? &s->exposure
                                              : NULL;
}

static int set_control(struct handle *h, struct v4l2_control *c)
{
    struct state *s = h->box.state;
    i32 *value = control(s, c->id);
    struct write_record record = {
        .ns = now_ns(), .value = c->value, .control = c->id, .pid = getpid()};
    if (!value)
        return fail(EINVAL);
    // As uvcvideo: while the camera exposes by itself, an exposure is refused.
    if (c->id == V4L2_CID_EXPOSURE_ABSOLUTE && s->exposure_mode != V4L2_EXPOSURE_MANUAL)
        record.error = EACCES;
    else if (c->id == V4L2_CID_EXPOSURE_AUTO && c->value != V4L2_EXPOSURE_MANUAL &&
             c->value != V4L2_EXPOSURE_APERTURE_PRIORITY)
        record.error = EINVAL;
    box_log(&h->box, LOG_WRITES, &record);
    if (record.error)
        return fail(record.error);
    *value = c->value;
    return 0;
}

static int get_controls(struct state *s, struct v4l2_ext_controls *all)
{
    for (u32 i = 0; i < all->count; i++) {
        i32 *value = control(s, all->controls[i].id);
        if (!value)
            return fail(EINVAL);
        all->controls[i].value = *value;
    }
    return 0;
}

int camera_ioctl(struct handle *h, unsigned long request, void *argument, bool *known)
{
    struct state *s = h->box.state;
    struct v4l2_control *c = argument;
    switch (request) {
    case VIDIOC_ENUM_FMT: return enumerate_format(s, argument);
    case VIDIOC_ENUM_FRAMESIZES: return enumerate_size(s, argument);
    case VIDIOC_ENUM_FRAMEINTERVALS: return enumerate_interval(s, argument);
    case VIDIOC_G_FMT: case VIDIOC_S_FMT: case VIDIOC_TRY_FMT:
        return format(h, request, argument);
    case VIDIOC_G_PARM: case VIDIOC_S_PARM: return parameters(h, request, argument);
    case VIDIOC_QUERYCTRL: return query_control(s, argument);
    case VIDIOC_G_EXT_CTRLS: return get_controls(s, argument);
    case VIDIOC_S_CTRL: return set_control(h, c);
    case VIDIOC_G_CTRL:
        if (!control(s, c->id))
            return fail(EINVAL);
        c->value = *control(s, c->id);
        return 0;
    case VIDIOC_QUERY_EXT_CTRL: case VIDIOC_S_EXT_CTRLS: case VIDIOC_TRY_EXT_CTRLS:
    case UVCIOC_CTRL_QUERY:
        return fail(EINVAL);
    }
    *known = false;
    return 0;
}

// ---- pictures

int camera_pictures(const struct handle *h)
{
    char file[32];
    snprintf(file, sizeof file, "offer%d", h->box.state->offer);
    return box_file(&h->box, file, O_RDONLY);
}

// A picture's slot in the file: its length in four bytes, then room for the largest one.
u32 camera_paint(int pictures, struct handle *h, u32 index, u64 frame)
{
    const struct state *s = h->box.state;
    u32 size = 0;
    i64 slot = (i64)(frame % s->bank_frames) * (sizeof size + h->length);
    if (pread(pictures, &size, sizeof size, slot) < 0)
        perror("virtual_daq: picture");
    u8 *data = malloc(h->length);
    if (pread(pictures, data, size, slot + sizeof size) < 0 ||
        pwrite(h->memory, data, size, (i64)index * h->stride) < 0)
        perror("virtual_daq: picture");
    free(data);
    return size;
}
