// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// What the box's firmware and the head stage do: packets out of control words, the queue that is
// run at a frame's end, registers, light, orientation. Called with the box locked.

#include "box.h"

#include <math.h>
#include <string.h>

static double template_light(const struct state *s, int led, i64 raw)
{
    double span = s->light_full[led] - s->light_dark[led];
    double light = span ? (raw - s->light_dark[led]) / span : 0;
    return light < 0 ? 0 : light > 1 ? 1 : light;
}

// An LED set by two registers (enable and current) is as bright as the darker one allows.
static void update_values(struct state *s)
{
    for (int led = LED; led <= LED2; led++) {
        double light = 0;
        bool first = true;
        for (int t = 0; t < s->templates; t++)
            if (s->template_control[t] == led) {
                double here = template_light(s, led, s->template_raw[t]);
                light = first || here < light ? here : light;
                first = false;
            }
        s->light[led] = light;
    }
    for (int i = 0; i < CHOICES; i++) {
        if (s->gain_value[i] && s->gain_raw[i] == s->raw[GAIN])
            s->gain = s->gain_value[i];
        if (s->rate_value[i] && s->rate_raw[i] == s->raw[FRAME_RATE] &&
            (s->rate_second[i] < 0 || s->rate_second[i] == s->second[FRAME_RATE]))
            s->rate = s->rate_value[i];
    }
}

static void store_registers(struct state *s, const u8 *packet, int length)
{
    bool changed = false;
    for (int t = 0; t < s->templates; t++) {
        const u8 *kind = s->template_kind + 6 * t, *fixed = s->template_byte + 6 * t;
        if (s->template_length[t] != length)
            continue;
        i64 raw = 0, second = 0;
        bool matches = true, has_raw = false, has_second = false;
        for (int i = 0; i < length; i++) {
            if (kind[i] == 0) {
                matches &= packet[i] == fixed[i];
            } else if (kind[i] < 9) {
                raw |= (i64)packet[i] << (8 * (kind[i] - 1));
                has_raw = true;
            } else {
                second |= (i64)packet[i] << (8 * (kind[i] - 9));
                has_second = true;
            }
        }
        if (!matches)
            continue;
        changed = true;
        if (has_raw)
            s->template_raw[t] = s->raw[s->template_control[t]] = raw;
        if (has_second)
            s->second[s->template_control[t]] = second;
    }
    if (changed)
        update_values(s);
}

// The box restarts, its head stage keeps its power: registers and light stay.
void firmware_restart(struct state *s)
{
    s->saturation = s->stage = s->polling = s->frozen = 0;
    s->flags = s->counter = s->queue_head = s->queued = 0;
    s->power_on_ns = now_ns();
    memset(s->quaternion, 0, sizeof s->quaternion);
}

// The head stage alone: registers, light, lens, rate and sensor. The box goes on, its queue too.
void firmware_head_stage_power_on(struct state *s)
{
    s->awake = 0;
    s->gain = s->gain_value[0];
    s->rate = s->start_rate;
    for (int control = 0; control < CONTROLS; control++)
        s->raw[control] = s->second[control] = -1;
    for (int t = 0; t < s->templates; t++) {
        s->template_raw[t] = s->template_power_on[t];
        if (s->template_control[t] <= LED2)
            s->raw[s->template_control[t]] = s->template_power_on[t];
    }
    update_values(s);
    firmware_exposure_done(s);
}

void firmware_power_on(struct state *s)
{
    firmware_restart(s);
    firmware_head_stage_power_on(s);
}

// What was in force when this is called began the exposure of the frame after the next end.
void firmware_exposure_done(struct state *s)
{
    memcpy(s->raw_start, s->raw, sizeof s->raw);
    memcpy(s->light_start, s->light, sizeof s->light);
    s->gain_start = s->gain;
}

double firmware_rate(const struct state *s)
{
    return s->rate_override > 0 ? s->rate_override : s->rate * s->rate_factor;
}

double firmware_random(struct state *s)  // normal, by Box and Muller; xorshift64* below it
{
    double uniform[2];
    for (int i = 0; i < 2; i++) {
        s->random ^= s->random >> 12;
        s->random ^= s->random << 25;
        s->random ^= s->random >> 27;
        uniform[i] = ((s->random * 2685821657736338717ULL >> 11) + 1) * 0x1p-53;
    }
    return sqrt(-2 * log(uniform[0])) * cos(2 * M_PI * uniform[1]);
}

// packet is b0..b5 as it stands in the control words.
void firmware_enqueue(struct box *box, const u8 packet[6], int words, i64 ns)
{
    static const u8 zeros[6];
    struct state *s = box->state;
    if (words && memcmp(packet, zeros, 6) == 0)
        box_fault(box, PROTOCOL_EMPTY, 0);
    else if (!(packet[0] & 1) && (packet[1] < 2 || packet[1] > 5))
        box_fault(box, PROTOCOL_LENGTH, packet[1]);
    // No overflow check: the oldest are overwritten, and run in their places and once more.
    if (s->queued >= SLOTS)
        box_fault(box, PROTOCOL_OVERFLOW, s->queued);
    u32 slot = (s->queue_head + s->queued++) % SLOTS;
    memcpy(s->queue_bytes + 8 * slot, packet, 6);
    s->queue_ns[slot] = ns;
    if (s->queued > s->queued_most)
        s->queued_most = s->queued;
}

// One 16-bit word of a packet; position 0 CONTRAST, 1 GAMMA, 2 SHARPNESS.
void firmware_word(struct box *box, int position, int word, i64 ns)
{
    struct state *s = box->state;
    if (position == 0 && s->stage != 0) {
        box_fault(box, PROTOCOL_HALF, s->stage);
        s->stage = 0;
    }
    if (position != s->stage) {
        box_fault(box, PROTOCOL_ORDER, position);
        s->stage = 0;
        return;
    }
    s->words[s->stage++] = word;
    if (s->stage < 3)
        return;
    s->stage = 0;
    u8 packet[6];
    for (int i = 0; i < 6; i++)
        packet[i] = s->words[i / 2] >> (8 * (i % 2));
    firmware_enqueue(box, packet, 3, ns);
}

static void run_box_command(struct box *box, const u8 *packet, int length)
{
    struct state *s = box->state;
    if (length != 2)
        return;
    if (packet[1] == 0) {
        s->polling = 1;
    } else if (packet[1] == 1) {
        firmware_restart(s);
        unplug_locked(box, s->reset_ns, s->reset_number);
    }
}

// Run all queued packets, 100 us each; return how many.
int firmware_execute(struct box *box, i64 end_ns)
{
    struct state *s = box->state;
    int count = 0;
    while (s->queued) {
        const u8 *raw = s->queue_bytes + 8 * s->queue_head;
        struct packet_record record = {
            .ns = end_ns + 100000LL * count, .queued_ns = s->queue_ns[s->queue_head],
            .frame = s->frame, .stream = s->streams};
        s->queue_head = (s->queue_head + 1) % SLOTS;
        s->queued--;
        record.bytes[0] = raw[0] & 0xFE;
        if (raw[0] & 1) {
            record.length = 6;
            memcpy(record.bytes + 1, raw + 1, 5);
        } else {
            record.length = raw[1];
            memcpy(record.bytes + 1, raw + 2, 4);
        }
        s->executed++;
        count++;
        box_log(box, LOG_PACKETS, &record);
        if (record.bytes[0] == 0x50 && record.bytes[1] == 0x41)
            s->awake |= 1;
        if (record.bytes[0] == 0x50 && record.bytes[1] == 0x3D)
            s->awake |= 2;
        if (record.bytes[0] == 0xFE)
            run_box_command(box, record.bytes, record.length);
        else if (record.length >= 2 && record.length <= 6)
            store_registers(s, record.bytes, record.length);
    }
    return count;
}

// The reading of the orientation sensor at a frame's end: a smooth course of unit quaternions.
void firmware_reading(struct state *s, u32 faults, i16 reading[4])
{
    memcpy(reading, s->quaternion, 4 * sizeof *reading);
    if (!s->has_orientation || !s->polling || (faults & FAULT_QUAT_FROZEN))
        return;
    if ((s->needs_init && s->awake != 3) || (faults & FAULT_QUAT_ZERO)) {
        memset(reading, 0, 4 * sizeof *reading);
        return;
    }
    if (!s->resting)
        s->motion++;
    double half = 0.01 * s->motion, turn = 0.003 * s->motion;
    double q[4] = {cos(half), sin(half) * cos(turn), sin(half) * sin(turn) * 0.6,
                   sin(half) * sin(turn) * 0.8};
    if (faults & FAULT_QUAT_TORN) {  // y, z as they were a quarter turn earlier
        q[2] = -cos(half) * sin(turn) * 0.6;
        q[3] = -cos(half) * sin(turn) * 0.8;
    }
    for (int i = 0; i < 4; i++)
        reading[i] = (i16)lrint(q[i] * 16384 * (faults & FAULT_QUAT_BAD ? 1.5 : 1));
}
