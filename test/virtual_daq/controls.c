// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// V4L2 controls and the extension unit, with the cache that uvcvideo keeps of them. Called with
// the box locked.

#include "box.h"

#include <errno.h>
#include <linux/usb/video.h>
#include <linux/uvcvideo.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    BRIGHTNESS, CONTRAST, SATURATION, HUE, GAMMA, CONTROL_GAIN, SHARPNESS, EXPOSURE, PAN, TILT
};

// In the order of their ids, as NEXT_CTRL walks through them. A maximum of 0 is control_maximum.
static const struct control {
    u32 id;
    const char *name;
    i32 minimum, maximum;
} controls[] = {
    [BRIGHTNESS] = {V4L2_CID_BRIGHTNESS, "Brightness", -32768, 32767},
    [CONTRAST] = {V4L2_CID_CONTRAST, "Contrast", 0, 0},
    [SATURATION] = {V4L2_CID_SATURATION, "Saturation", 0, 0},
    [HUE] = {V4L2_CID_HUE, "Hue", -32768, 32767},
    [GAMMA] = {V4L2_CID_GAMMA, "Gamma", 0, 0},
    [CONTROL_GAIN] = {V4L2_CID_GAIN, "Gain", 0, 0},
    [SHARPNESS] = {V4L2_CID_SHARPNESS, "Sharpness", 0, 0},
    [EXPOSURE] = {V4L2_CID_EXPOSURE_ABSOLUTE, "Exposure Time, Absolute", 0, INT32_MAX},
    [PAN] = {V4L2_CID_PAN_ABSOLUTE, "Pan, Absolute", INT32_MIN, INT32_MAX},
    [TILT] = {V4L2_CID_TILT_ABSOLUTE, "Tilt, Absolute", INT32_MIN, INT32_MAX},
};
enum { COUNT = sizeof controls / sizeof *controls };

static int fail(int error)
{
    errno = error;
    return -1;
}

static bool has(const struct state *s, int index)
{
    return !(s->missing_controls & 1U << index);
}

static int find(const struct state *s, u32 id)
{
    for (int i = 0; i < COUNT; i++)
        if (controls[i].id == id && has(s, i))
            return i;
    return -1;
}

static i32 maximum(const struct state *s, int index)
{
    return controls[index].maximum ? controls[index].maximum : s->control_maximum;
}

// What the box itself answers to GET_CUR.
static i64 from_box(const struct state *s, int index)
{
    const i16 *q = s->quaternion;
    switch (index) {
    case BRIGHTNESS: return q[3];
    case CONTRAST: case EXPOSURE: return s->counter & 0xFFFF;
    case SATURATION: return (u16)q[0];
    case HUE: return s->saturation == 2 && s->interface_version ? s->interface_version : q[1];
    case GAMMA: return (s->looped ? s->sync_toggles : s->inputs) & 1;
    case CONTROL_GAIN: return (u16)q[2];
    case PAN: return (i32)((u16)q[0] | (u32)(u16)q[1] << 16);
    case TILT: return (i32)((u16)q[2] | (u32)(u16)q[3] << 16);
    default: return 0;
    }
}

static i64 get(struct state *s, int index)
{
    s->control_reads++;
    if (s->fresh_controls & 1U << index)
        return from_box(s, index);
    // Pan and tilt are one control of the device: one answer holds both.
    int first = index == TILT ? PAN : index, last = index == PAN ? TILT : index;
    for (int i = first; i <= last; i++)
        if (!(s->cached & 1U << i)) {
            s->cache[i] = from_box(s, i);
            s->cached |= 1U << i;
        }
    return s->cache[index];
}

static i32 clamp(const struct state *s, int index, i32 value)
{
    i32 low = controls[index].minimum, high = maximum(s, index);
    return value < low ? low : value > high ? high : value;
}

// What a write does in the box itself; 0 or an errno.
static int write_box(struct handle *h, int index, i32 asked, i32 value)
{
    struct state *s = h->box.state;
    struct write_record record = {
        .ns = now_ns(), .value = asked, .control = controls[index].id, .pid = getpid()};
    if (s->control_errno && s->control_errors) {
        record.error = s->control_errno;
        if (s->control_errors > 0)
            s->control_errors--;
    } else {
        s->control_writes++;
        if (index == CONTRAST || index == GAMMA || index == SHARPNESS)
            firmware_word(&h->box, index == CONTRAST ? 0 : index == GAMMA ? 1 : 2, value,
                          record.ns);
        else if (index == SATURATION)
            s->saturation = value;
    }
    record.queued = s->queued;
    box_log(&h->box, LOG_WRITES, &record);
    return record.error;
}

static int set(struct handle *h, u32 id, i32 asked)
{
    struct state *s = h->box.state;
    int index = find(s, id);
    if (index < 0)
        return fail(EINVAL);
    i32 value = clamp(s, index, asked);
    int error = write_box(h, index, asked, value);
    if (error)
        return fail(error);
    if (s->cached & 1U << index)  // a write does not load the cache: the first read does
        s->cache[index] = value;
    return 0;
}

// Without the kernel between: for programs that use the box through libusb.
int controls_write(struct handle *h, u32 id, i32 asked)
{
    int index = find(h->box.state, id);
    return index < 0 ? EINVAL : write_box(h, index, asked, asked);
}

i64 controls_read(struct state *s, u32 id)
{
    s->control_reads++;
    return from_box(s, find(s, id));
}

static int query(const struct state *s, u32 asked)
{
    u32 next = asked & (V4L2_CTRL_FLAG_NEXT_CTRL | V4L2_CTRL_FLAG_NEXT_COMPOUND);
    if (!next)
        return find(s, asked);
    for (int i = 0; i < COUNT && next & V4L2_CTRL_FLAG_NEXT_CTRL; i++)
        if (has(s, i) && controls[i].id > (asked & V4L2_CTRL_ID_MASK))
            return i;
    return -1;
}

static int query_control(const struct state *s, struct v4l2_queryctrl *q)
{
    int index = query(s, q->id);
    if (index < 0)
        return fail(EINVAL);
    *q = (struct v4l2_queryctrl){.id = controls[index].id, .type = V4L2_CTRL_TYPE_INTEGER,
                                 .minimum = controls[index].minimum,
                                 .maximum = maximum(s, index), .step = 1};
    snprintf((char *)q->name, sizeof q->name, "%s", controls[index].name);
    return 0;
}

static int query_extended(const struct state *s, struct v4l2_query_ext_ctrl *q)
{
    int index = query(s, q->id);
    if (index < 0)
        return fail(EINVAL);
    *q = (struct v4l2_query_ext_ctrl){.id = controls[index].id, .type = V4L2_CTRL_TYPE_INTEGER,
                                      .minimum = controls[index].minimum,
                                      .maximum = maximum(s, index), .step = 1,
                                      .elem_size = 4, .elems = 1};
    snprintf(q->name, sizeof q->name, "%s", controls[index].name);
    return 0;
}

static int get_extended(struct state *s, struct v4l2_ext_controls *all)
{
    if (s->read_errno)
        return fail(s->read_errno);
    for (u32 i = 0; i < all->count; i++)
        if (find(s, all->controls[i].id) < 0) {
            all->error_idx = all->count;
            return fail(EINVAL);
        }
    for (u32 i = 0; i < all->count; i++)
        all->controls[i].value = (i32)get(s, find(s, all->controls[i].id));
    return 0;
}

static int set_extended(struct handle *h, struct v4l2_ext_controls *all, bool try_only)
{
    struct state *s = h->box.state;
    for (u32 i = 0; i < all->count; i++)
        if (find(s, all->controls[i].id) < 0) {
            all->error_idx = try_only ? i : all->count;
            return fail(EINVAL);
        }
    for (u32 i = 0; i < all->count; i++) {
        struct v4l2_ext_control *c = &all->controls[i];
        all->error_idx = i;
        i32 value = clamp(s, find(s, c->id), c->value);
        if (!try_only && set(h, c->id, c->value) < 0)
            return -1;
        c->value = value;
    }
    return 0;
}

// ---- the extension unit of the Open Ephys firmware

enum { UNIT_VERSION = 1, UNIT_PACKETS = 2, UNIT_FLAGS = 3 };
static const int unit_sizes[] = {[UNIT_VERSION] = 3, [UNIT_PACKETS] = 25, [UNIT_FLAGS] = 2};

static int unit_set(struct handle *h, int selector, const u8 *data)
{
    struct state *s = h->box.state;
    struct write_record record = {.ns = now_ns(), .value = data[0], .pid = getpid(),
                                  .control = 0x10000 | selector};
    if (selector == UNIT_VERSION)
        return fail(EBADRQC);
    if (s->control_errno && s->control_errors) {
        record.error = s->control_errno;
        if (s->control_errors > 0)
            s->control_errors--;
    } else if (selector == UNIT_FLAGS) {
        s->flags = data[0] | data[1] << 8;
    } else {
        if (data[0] > 4)
            box_fault(&h->box, PROTOCOL_COUNT, data[0]);
        for (int i = 0; i < data[0] && i < 4; i++)
            firmware_enqueue(&h->box, data + 1 + 6 * i, 3, record.ns);
    }
    record.queued = s->queued;
    box_log(&h->box, LOG_WRITES, &record);
    return record.error ? fail(record.error) : 0;
}

int unit_query(struct handle *h, struct uvc_xu_control_query *q)
{
    struct state *s = h->box.state;
    if (!s->extension_unit || q->unit != s->extension_unit || q->selector < UNIT_VERSION ||
        q->selector > UNIT_FLAGS)
        return fail(ENOENT);
    int size = unit_sizes[q->selector];
    int wanted = q->query == UVC_GET_LEN ? 2 : q->query == UVC_GET_INFO ? 1 : size;
    if (q->size != wanted)
        return fail(ENOBUFS);
    switch (q->query) {
    case UVC_GET_LEN:
        q->data[0] = size;
        q->data[1] = 0;
        return 0;
    case UVC_GET_INFO:
        q->data[0] = q->selector == UNIT_VERSION ? 1 : 3;
        return 0;
    case UVC_GET_CUR:
        if (s->read_errno)
            return fail(s->read_errno);
        s->control_reads++;
        memset(q->data, 0, size);
        if (q->selector == UNIT_VERSION)
            memcpy(q->data, s->unit_version, 3);
        else if (q->selector == UNIT_FLAGS)
            q->data[0] = s->flags;
        return 0;
    case UVC_GET_MIN: case UVC_GET_RES: case UVC_GET_DEF:
        memset(q->data, 0, size);
        return 0;
    case UVC_GET_MAX:
        memset(q->data, 0xFF, size);
        return 0;
    case UVC_SET_CUR:
        s->control_writes++;
        return unit_set(h, q->selector, q->data);
    }
    return fail(EINVAL);
}

int controls_ioctl(struct handle *h, unsigned long request, void *argument, bool *known)
{
    struct state *s = h->box.state;
    struct v4l2_control *c = argument;
    switch (request) {
    case VIDIOC_QUERYCTRL: return query_control(s, argument);
    case VIDIOC_QUERY_EXT_CTRL: return query_extended(s, argument);
    case VIDIOC_G_CTRL:
        if (find(s, c->id) < 0)
            return fail(EINVAL);
        if (s->read_errno)
            return fail(s->read_errno);
        c->value = (i32)get(s, find(s, c->id));
        return 0;
    case VIDIOC_S_CTRL:
        if (set(h, c->id, c->value) < 0)
            return -1;
        c->value = clamp(s, find(s, c->id), c->value);
        return 0;
    case VIDIOC_G_EXT_CTRLS: return get_extended(s, argument);
    case VIDIOC_S_EXT_CTRLS: return set_extended(h, argument, false);
    case VIDIOC_TRY_EXT_CTRLS: return set_extended(h, argument, true);
    case UVCIOC_CTRL_QUERY: return unit_query(h, argument);
    }
    *known = false;
    return 0;
}
