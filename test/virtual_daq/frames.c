// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// The image of a frame. It is written to the buffers' memfd, not through a mapping, so that it
// adds nothing to the client's resident memory.

#define _GNU_SOURCE
#include "box.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

struct painter {
    u8 *image;   // YUYV as it was painted last; NULL in bank mode
    u32 size;    // bytes the sensor sends
    int level;   // grey value of the whole image, -1: the ramp
    int depth;   // of the stripes, in grey values
    int bank;    // file of prepared frames
};

struct painter *painter_new(struct handle *h)
{
    struct state *s = h->box.state;
    struct painter *p = calloc(1, sizeof *p);
    p->size = 2 * s->sensor_width * s->sensor_height;
    p->level = -1;
    p->bank = -1;
    if (is_camera(s)) {
        p->bank = camera_pictures(h);
        return p;
    }
    if (s->image_mode == IMAGE_BANK) {
        char path[640];
        snprintf(path, sizeof path, "%s/boxes/%s/bank", h->box.root, h->box.name);
        p->bank = open(path, O_RDONLY | O_CLOEXEC);
        return p;
    }
    p->image = malloc(p->size);
    for (u32 i = 0; i < p->size; i += 2) {
        p->image[i] = i / 2;
        p->image[i + 1] = 128;
    }
    return p;
}

void painter_free(struct painter *p)
{
    if (p->bank >= 0)
        close(p->bank);
    free(p->image);
    free(p);
}

// Brightness at the exposure's start and end, averaged: the light changes in its middle.
static int grey_level(const struct state *s, const struct frame_record *r)
{
    if (s->covered)
        return 8;
    double before = 8 + 60 * (r->light_start[0] + r->light_start[1]) * s->gain_start;
    double after = 8 + 60 * (r->light_end[0] + r->light_end[1]) * s->gain;
    return (int)lrint(fmin(255, (fmin(255, before) + fmin(255, after)) / 2));
}

static void paint_level(struct painter *p, int level)
{
    if (level == p->level)
        return;
    p->level = level;
    for (u32 i = 0; i < p->size; i += 2)
        p->image[i] = level;
}

// Stripes eight pixels wide, around the level of a lit image; the focus decides their depth.
static void paint_stripes(struct painter *p, const struct frame_record *r, int level)
{
    i64 off = r->raw_end[2] < 0 ? 0 : r->raw_end[2] - 127;
    int depth = lrint(level / 2.0 * exp(-(double)(off * off) / (64.0 * 64.0)));
    if (level == p->level && depth == p->depth)
        return;
    p->level = level;
    p->depth = depth;
    for (u32 i = 0; i < p->size; i += 2)
        p->image[i] = level + (i / 16 % 2 ? depth : -depth);
}

// Open Ephys: five words in the chroma bytes of the first 20 pixels.
static void telemetry(const struct state *s, const struct frame_record *r, u8 *image)
{
    const i16 *q = r->quaternion;
    u32 words[5] = {s->counter + 1, (u32)((r->stamp_ns - s->power_on_ns) / 1000000), s->inputs,
                    (u16)q[0] | (u32)(u16)q[1] << 16, (u16)q[2] | (u32)(u16)q[3] << 16};
    for (int k = 0; k < 5; k++)
        for (int byte = 0; byte < 4; byte++)
            image[8 * k + 1 + 2 * byte] = words[k] >> (8 * byte);
}

// Paint the record's frame into a buffer; return the bytes written.
u32 painter_paint(struct painter *p, struct handle *h, u32 index, struct frame_record *r)
{
    struct state *s = h->box.state;
    if (is_camera(s))
        return camera_paint(p->bank, h, index, r->frame);
    u32 size = p->size < h->length ? p->size : h->length;
    i64 offset = (i64)index * h->stride;
    u8 head[80];
    if (p->bank >= 0) {
        i64 source = (i64)(r->frame % s->bank_frames) * p->size;
        if (pread(p->bank, head, sizeof head, source) < 0)
            perror("virtual_daq: bank");
        lseek(h->memory, offset, SEEK_SET);
        for (i64 end = source + size; source < end;)
            if (sendfile(h->memory, p->bank, &source, end - source) <= 0) {
                perror("virtual_daq: bank");
                break;
            }
    } else {
        if (s->image_mode == IMAGE_LIT)
            paint_level(p, r->level = grey_level(s, r));
        else if (s->image_mode == IMAGE_STRIPES)
            paint_stripes(p, r, r->level = grey_level(s, r));
        for (int byte = 0; byte < 8; byte++)  // the frame's number, in the grey bytes
            p->image[2 * byte] = r->frame >> (8 * byte);
        if (s->extension_unit)
            telemetry(s, r, p->image);
        if (pwrite(h->memory, p->image, size, offset) < 0)
            perror("virtual_daq: image");
        return size;
    }
    if (s->extension_unit) {
        telemetry(s, r, head);
        if (pwrite(h->memory, head, sizeof head, offset) < 0)
            perror("virtual_daq: telemetry");
    }
    return size;
}
