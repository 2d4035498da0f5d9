// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// The box's thread: it runs while a client streams, wakes at each frame's end, fills a buffer and
// lets the firmware do what it does then.

#define _GNU_SOURCE
#include "box.h"

#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static bool running(struct handle *h)
{
    return !atomic_load(&h->stop) && handle_alive(h);
}

// Sleep until the deadline; false as soon as the stream ends.
bool wait_until(struct handle *h, i64 deadline)
{
    u32 *poke = &h->box.state->poke;
    struct timespec t = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
    while (true) {
        u32 seen = __atomic_load_n(poke, __ATOMIC_SEQ_CST);
        if (!running(h))
            return false;
        if (now_ns() >= deadline)
            return true;
        syscall(SYS_futex, poke, FUTEX_WAIT_BITSET, seen, &t, NULL, FUTEX_BITSET_MATCH_ANY);
    }
}

// The buffer queued first, if it was there when the frame began, as uvcvideo takes it.
static int take_buffer(struct handle *h, i64 stamp)
{
    int oldest = -1;
    for (u32 i = 0; i < h->count; i++)
        if (h->buffers[i].state == QUEUED && h->buffers[i].queued_ns <= stamp &&
            (oldest < 0 || h->buffers[i].order < h->buffers[oldest].order))
            oldest = i;
    if (oldest >= 0)
        h->buffers[oldest].state = FILLING;
    return oldest;
}

static i64 reported_stamp(struct state *s, i64 stamp, i64 period, u32 faults)
{
    i64 jitter = s->jitter_ns ? (i64)(firmware_random(s) * s->jitter_ns) : 0;
    i64 limit = 2 * period / 5;  // stamps stay in order
    i64 reported = stamp + (jitter < -limit ? -limit : jitter > limit ? limit : jitter);
    if (faults & FAULT_STAMP_ZERO)
        return 0;
    if (faults & FAULT_STAMP_BACK)
        return s->reported_ns - period / 2;
    if (faults & FAULT_STAMP_FAR)
        return reported + 3600000000000LL;
    return s->reported_ns = reported;
}

// What befalls a frame whose read-out began at that time.
u32 frame_faults(struct handle *h, i64 stamp)
{
    struct state *s = h->box.state;
    u32 faults = s->plan[s->frame % PLAN] | s->sticky;
    faults |= __atomic_exchange_n(&s->once, 0, __ATOMIC_SEQ_CST);
    if (h->sequence < s->bad_at_start)
        faults |= FAULT_SHORT;
    if (stamp < s->link_back_ns)
        faults |= FAULT_UNFINISHED;
    return faults;
}

// A failed transfer returns the whole ring with the error flag: the first buffer belongs to a frame,
// the others have no bytes, number or stamp. It costs one of the driver's URBs for good.
static void fail_transfer(struct handle *h)
{
    h->transfer_errors++;
    for (u32 i = 0; i < h->count; i++) {
        struct buffer *b = &h->buffers[i];
        if (b->state != QUEUED)
            continue;
        b->bytes = b->sequence = 0;
        b->stamp_ns = 0;
        b->flags = V4L2_BUF_FLAG_ERROR | V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
        b->order = h->order++;
        b->state = DONE;
    }
}

static void hand_over(struct handle *h, struct frame_record *r, u32 painted)
{
    struct state *s = h->box.state;
    struct buffer *b = &h->buffers[r->buffer];
    bool cut = r->faults & (FAULT_SHORT | FAULT_TRANSFER);
    r->bytes = r->faults & FAULT_EMPTY ? 0 : cut ? painted / 2 : painted;
    b->bytes = r->bytes;
    b->flags = r->faults & (FAULT_ERROR_FLAG | FAULT_TRANSFER) ? V4L2_BUF_FLAG_ERROR : 0;
    if (!(r->faults & FAULT_STAMP_NONE))
        b->flags |= V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    if (!is_camera(s) && h->length != 2U * s->sensor_width * s->sensor_height)
        b->flags |= V4L2_BUF_FLAG_ERROR;  // the set size is not the scope's
    b->stamp_ns = r->reported_ns;
    b->sequence = r->sequence;
    b->order = h->order++;
    b->state = DONE;
    r->ready_ns = now_ns();
}

void log_frame(struct handle *h, struct frame_record *r)
{
    struct state *s = h->box.state;
    box_log(&h->box, LOG_FRAMES, r);
    s->frame++;
}

// The first half of a frame's end, locked: what becomes of the frame. False: it does not exist.
static bool begin_end(struct handle *h, struct frame_record *r, i64 period)
{
    struct state *s = h->box.state;
    if (s->inputs_at && s->frame >= s->inputs_at) {
        s->inputs = s->inputs_next;
        s->inputs_changed = s->frame;  // a late client's command comes after its frame
        s->inputs_at = 0;
    }
    r->faults = frame_faults(h, r->stamp_ns);
    if (r->faults & FAULT_FREEZE)
        s->frozen = 1;
    if (s->frozen)
        return false;
    memcpy(r->raw_start, s->raw_start, sizeof r->raw_start);
    memcpy(r->raw_end, s->raw, sizeof r->raw_end);
    memcpy(r->light_start, s->light_start, sizeof r->light_start);
    memcpy(r->light_end, s->light, sizeof r->light_end);
    if (r->faults & FAULT_UNFINISHED) {
        r->status = UNFINISHED;
        memcpy(r->quaternion, s->quaternion, sizeof r->quaternion);
        firmware_exposure_done(s);
        r->counter = s->counter;
        log_frame(h, r);
        return false;
    }
    // After 400 ms without data the UCLA firmware restarts its transfer, which resets the frame-ID
    // bit: the driver sees no new frame, but for the first of a stream.
    bool unseen = h->sequence && !s->extension_unit && !is_camera(s) && period > 400000000;
    r->sequence = unseen ? -1 : (i64)h->sequence++;
    r->reported_ns = reported_stamp(s, r->stamp_ns, period, r->faults);
    firmware_reading(s, r->faults, r->quaternion);
    if (r->faults & FAULT_LOST || unseen || h->transfer_errors >= URBS)
        r->status = LOST;
    else if ((r->buffer = take_buffer(h, r->stamp_ns)) < 0)
        r->status = NO_BUFFER;
    return true;
}

// The second half, locked: the firmware's work, and the buffer to the client.
static void complete_end(struct handle *h, struct frame_record *r, u32 painted)
{
    struct state *s = h->box.state;
    r->counter = ++s->counter;  // a hard reset in this very end comes later
    if ((s->saturation & 1) || (s->flags & 1))
        r->sync = s->sync_toggles++;
    if (s->reading_ns == 0)
        memcpy(s->quaternion, r->quaternion, sizeof s->quaternion);
    firmware_exposure_done(s);
    r->executed = firmware_execute(&h->box, r->end_ns);
    if (r->buffer >= 0)
        hand_over(h, r, painted);
    if (r->faults & FAULT_TRANSFER)
        fail_transfer(h);
    log_frame(h, r);
    if (r->faults & FAULT_UNPLUG) {
        firmware_power_on(s);
        unplug_locked(&h->box, 0, -1);
    }
    handle_signal(h, r->buffer >= 0 || h->readable || !handle_alive(h));
}

static void frame_end(struct handle *h, struct painter *p, i64 stamp, i64 period, i64 end)
{
    struct state *s = h->box.state;
    struct frame_record r = {.frame = s->frame, .stream = s->streams, .stamp_ns = stamp,
                             .end_ns = end, .sequence = -1, .sync = -1, .buffer = -1,
                             .level = -1};
    box_lock(&h->box);
    bool exists = begin_end(h, &r, period);
    box_unlock(&h->box);
    if (!exists)
        return;
    u32 painted = r.buffer >= 0 ? painter_paint(p, h, r.buffer, &r) : 0;
    box_lock(&h->box);
    if (running(h))
        complete_end(h, &r, painted);
    box_unlock(&h->box);
    if (s->reading_ns && wait_until(h, end + s->reading_ns))
        memcpy(s->quaternion, r.quaternion, sizeof r.quaternion);
}

// A link that needs the SERDES pair comes up when that is queued, without a frame.
bool link_up(struct handle *h, i64 end)
{
    struct state *s = h->box.state;
    if (s->link == LINK_NEEDS_SERDES) {
        box_lock(&h->box);
        for (u32 i = 0; i < s->queued; i++) {
            const u8 *packet = s->queue_bytes + 8 * ((s->queue_head + i) % SLOTS);
            if (packet[0] == 0xC0 && packet[2] == 0x1F)
                s->link = LINK_GOOD;
        }
        if (s->link == LINK_GOOD)
            firmware_execute(&h->box, end);
        box_unlock(&h->box);
        return false;
    }
    return s->link == LINK_GOOD;
}

void account(struct state *s, i64 *before)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    i64 now = t.tv_sec * 1000000000LL + t.tv_nsec;
    __atomic_add_fetch(&s->cpu_ns, now - *before, __ATOMIC_SEQ_CST);
    *before = now;
}

static void *box_thread(void *argument)
{
    struct handle *h = argument;
    struct state *s = h->box.state;
    struct painter *p = painter_new(h);
    i64 stamp = now_ns() + s->start_ns, cpu = 0;
    s->thread_id = (i32)syscall(SYS_gettid);
    while (true) {
        i64 period = (i64)(1e9 / firmware_rate(s));
        i64 readout = s->readout_ns < 2 * period / 3 ? s->readout_ns : 2 * period / 3;
        if (!wait_until(h, stamp + readout))
            break;
        if (link_up(h, stamp + readout))
            frame_end(h, p, stamp, period, stamp + readout);
        account(s, &cpu);
        stamp += period;
    }
    painter_free(p);
    account(s, &cpu);
    box_lock(&h->box);
    if (!handle_alive(h))
        handle_signal(h, true);
    box_unlock(&h->box);
    return NULL;
}

int stream_start(struct handle *h)
{
    return stream_run(h, box_thread);
}

int stream_run(struct handle *h, void *(*body)(void *))
{
    struct state *s = h->box.state;
    h->sequence = h->transfer_errors = 0;
    s->reported_ns = now_ns();
    firmware_exposure_done(s);
    s->streams++;
    s->streaming = 1;
    s->client_pid = getpid();
    atomic_store(&h->stop, false);
    sigset_t all, before;  // no signal handler of the client may run in the box's thread
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&h->thread, NULL, body, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return error;
    pthread_setname_np(h->thread, "virtual_daq");
    h->streaming = true;
    return 0;
}

// Not to be called with the box locked: the thread may be waiting for the lock.
void stream_stop(struct handle *h)
{
    atomic_store(&h->stop, true);
    box_poke(&h->box);
    pthread_join(h->thread, NULL);
    h->streaming = false;
    h->box.state->streaming = 0;
}
