// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// The box's thread while a program streams through libusb: payloads at the pace of the read-out,
// then what the firmware does at a frame's end. In stream.c the same for V4L2.

#define _GNU_SOURCE
#include "box.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HEADER = 12, PAYLOAD = 16380, CONTENT = PAYLOAD - HEADER };
enum { FRAME_ID = 1, END_OF_FRAME = 2, ERROR = 0x40, END_OF_HEADER = 0x8C };
static const i64 together_ns = 300000;  // payloads that are due within this are sent at once

struct sender {
    struct handle *h;
    const u8 *image;  // as the painter left it
    u32 size;
    int frame_id;
};

static bool send_payload(struct sender *x, u32 offset, u32 size, int flags, bool failed)
{
    u8 data[PAYLOAD] = {HEADER, END_OF_HEADER | x->frame_id | flags};
    memcpy(data + HEADER, x->image + offset, size);
    return usb_emit(x->h, data, HEADER + size, failed);
}

static u32 count_payloads(const struct sender *x)
{
    return x->size ? (x->size + CONTENT - 1) / CONTENT : 1;
}

static bool send_numbered(struct sender *x, const struct frame_record *r, u32 k)
{
    u32 count = count_payloads(x), offset = k * CONTENT, rest = x->size - offset;
    int flags = (k == count - 1 ? END_OF_FRAME : 0) |
                (r->faults & FAULT_ERROR_FLAG && k == count / 2 ? ERROR : 0);
    return send_payload(x, offset, rest < CONTENT ? rest : CONTENT, flags,
                        r->faults & FAULT_TRANSFER && k == count / 2);
}

// Send a frame's payloads but the last, each when it is due, and wait until the last is due;
// false: the program had no transfer waiting, or the frame is one that the box never finishes.
static bool send_frame(struct sender *x, struct frame_record *r, i64 readout)
{
    u32 count = count_payloads(x);
    i64 pace = readout / count, sent_until = -1;
    for (u32 k = 0; k < count; k++) {
        i64 due = r->stamp_ns + k * pace;
        if (due > sent_until) {
            sent_until = k ? due + together_ns : due;
            if (!wait_until(x->h, k ? sent_until : due))
                return false;
        }
        if (r->faults & FAULT_UNFINISHED && k >= count / 2)
            return false;
        if (k == 0)  // this thread may be late itself
            r->reported_ns = now_ns();
        if (k < count - 1 && !send_numbered(x, r, k))
            return false;
    }
    return true;
}

static bool begin_frame(struct handle *h, struct frame_record *r)
{
    struct state *s = h->box.state;
    r->faults = frame_faults(h, r->stamp_ns);
    if (r->faults & FAULT_FREEZE)
        s->frozen = 1;
    memcpy(r->raw_start, s->raw_start, sizeof r->raw_start);
    memcpy(r->raw_end, s->raw, sizeof r->raw_end);
    memcpy(r->light_start, s->light_start, sizeof r->light_start);
    memcpy(r->light_end, s->light, sizeof r->light_end);
    memcpy(r->quaternion, s->quaternion, sizeof r->quaternion);
    r->reported_ns = r->stamp_ns;
    return !s->frozen;
}

static void end_frame(struct handle *h, struct frame_record *r)
{
    struct state *s = h->box.state;
    if (r->status != UNFINISHED) {
        r->sequence = h->sequence++;
        firmware_reading(s, r->faults, r->quaternion);
        ++s->counter;
        if ((s->saturation & 1) || (s->flags & 1))
            r->sync = s->sync_toggles++;
        memcpy(s->quaternion, r->quaternion, sizeof s->quaternion);
        r->ready_ns = r->status == DELIVERED ? now_ns() : 0;
    }
    r->counter = s->counter;  // a hard reset in this very end comes later
    firmware_exposure_done(s);
    if (r->status != UNFINISHED)
        r->executed = firmware_execute(&h->box, r->end_ns);
    log_frame(h, r);
}

static void one_frame(struct sender *x, struct painter *p, i64 stamp, i64 readout)
{
    struct handle *h = x->h;
    struct state *s = h->box.state;
    struct frame_record r = {.frame = s->frame, .stream = s->streams, .stamp_ns = stamp,
                             .end_ns = stamp + readout, .sequence = -1, .sync = -1,
                             .buffer = -1, .level = -1};
    box_lock(&h->box);
    bool exists = begin_frame(h, &r);
    box_unlock(&h->box);
    if (!exists) {
        wait_until(h, r.end_ns);
        return;
    }
    x->size = painter_paint(p, h, 0, &r);
    if (r.faults & FAULT_EMPTY || r.faults & FAULT_SHORT)
        x->size = r.faults & FAULT_EMPTY ? 0 : x->size / 2;
    r.bytes = x->size;
    bool sent = false;
    if (r.faults & FAULT_LOST)
        wait_until(h, r.end_ns);
    else
        sent = send_frame(x, &r, readout);
    box_lock(&h->box);
    if (stamp < s->link_back_ns)  // the head stage has lost its power meanwhile
        r.faults |= FAULT_UNFINISHED;
    sent = sent && usb_room(h) && !(r.faults & FAULT_UNFINISHED);
    r.status = r.faults & FAULT_LOST ? LOST : sent ? DELIVERED : UNFINISHED;
    // A restart of the transfer resets the frame ID.
    int next_id = r.status == UNFINISHED ? 0 : !x->frame_id;
    if (!atomic_load(&h->stop) && handle_alive(h)) {
        // As the box does: all is done when the program can have the end of the frame.
        end_frame(h, &r);
        if (sent)
            send_numbered(x, &r, count_payloads(x) - 1);
        if (r.faults & FAULT_UNPLUG) {
            firmware_power_on(s);
            unplug_locked(&h->box, 0, -1);
        }
    }
    x->frame_id = next_id;
    box_unlock(&h->box);
}

void *usb_thread(void *argument)
{
    struct handle *h = argument;
    struct state *s = h->box.state;
    long page = sysconf(_SC_PAGESIZE);
    h->length = 2 * s->width * s->height;
    h->stride = (h->length + page - 1) / page * page;
    h->memory = memfd_create("virtual_daq", MFD_CLOEXEC);
    if (ftruncate(h->memory, h->stride) < 0)
        return NULL;
    struct sender x = {.h = h};
    x.image = mmap(NULL, h->stride, PROT_READ, MAP_SHARED, h->memory, 0);
    struct painter *p = painter_new(h);
    i64 stamp = now_ns() + s->start_ns, cpu = 0;
    s->thread_id = (i32)syscall(SYS_gettid);
    while (true) {
        i64 period = (i64)(1e9 / firmware_rate(s));
        i64 readout = s->readout_ns < 2 * period / 3 ? s->readout_ns : 2 * period / 3;
        if (!wait_until(h, stamp))
            break;
        // After 400 ms without data the UCLA firmware restarts its transfer, too.
        if (period > 400000000 && !s->extension_unit)
            x.frame_id = 0;
        if (s->link == LINK_GOOD)
            one_frame(&x, p, stamp, readout);
        else if (wait_until(h, stamp + readout))
            link_up(h, stamp + readout);
        account(s, &cpu);
        stamp += period;
    }
    painter_free(p);
    munmap((void *)x.image, h->stride);
    close(h->memory);
    h->memory = -1;
    account(s, &cpu);
    return NULL;
}
