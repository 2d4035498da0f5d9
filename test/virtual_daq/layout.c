// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// The layouts of box.h in words, and the functions by which a test runs a box (through ctypes).

#define _GNU_SOURCE
#include "box.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define CODE(type)                                                                               \
    _Generic((type)0, char: "S", u8: "u1", u16: "u2", u32: "u4", u64: "u8", i16: "i2",           \
             i32: "i4", i64: "i8", double: "f8")
#define PRINT_SCALAR(type, name) PRINT_ARRAY(type, name, 0)
#define PRINT_ARRAY(type, name, count)                                                           \
    fprintf(out, "%s %s %d %zu\n", #name, CODE(type), (int)(count), offsetof(struct record, name));
#define PRINT(kind, struct_name, FIELDS)                                                         \
    {                                                                                            \
        fprintf(out, "= %s %zu\n", kind, sizeof(struct struct_name));                            \
        FIELDS(PRINT_SCALAR, PRINT_ARRAY)                                                        \
    }

EXPORT int virtual_daq_layout(char *text, size_t size)
{
    FILE *out = fmemopen(text, size, "w");
#define record state
    PRINT("state", state, STATE)
#undef record
#define record write_record
    PRINT("writes", write_record, WRITE_RECORD)
#undef record
#define record packet_record
    PRINT("packets", packet_record, PACKET_RECORD)
#undef record
#define record fault_record
    PRINT("faults", fault_record, FAULT_RECORD)
#undef record
#define record frame_record
    PRINT("frames", frame_record, FRAME_RECORD)
#undef record
    return fclose(out);
}

// Each call below attaches to the box for itself: nothing stays open in the calling process.
#define WITH_BOX(root, name, ...)                                                                \
    struct box box;                                                                              \
    if (box_attach(&box, root, name) < 0)                                                        \
        return -1;                                                                               \
    box_lock(&box);                                                                              \
    __VA_ARGS__;                                                                                 \
    box_unlock(&box);                                                                            \
    box_poke(&box);                                                                              \
    box_detach(&box);                                                                            \
    return 0;

EXPORT int virtual_daq_init(const char *root, const char *name)
{
    struct box box;
    if (box_attach(&box, root, name) < 0)
        return -1;
    pthread_mutexattr_t shared;
    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init((pthread_mutex_t *)box.state->lock, &shared);
    box_detach(&box);
    return 0;
}

EXPORT int virtual_daq_plug(const char *root, const char *name, int number)
{
    WITH_BOX(root, name, {
        if (box.state->present)
            unplug_locked(&box, 0, -1);
        firmware_power_on(box.state);
        plug_locked(&box, number);
    })
}

EXPORT int virtual_daq_unplug(const char *root, const char *name, i64 back_after_ns, int number)
{
    WITH_BOX(root, name, {
        firmware_power_on(box.state);
        unplug_locked(&box, back_after_ns, number);
    })
}

EXPORT int virtual_daq_reset(const char *root, const char *name)
{
    WITH_BOX(root, name, {
        firmware_restart(box.state);
        unplug_locked(&box, box.state->reset_ns, box.state->reset_number);
    })
}

EXPORT int virtual_daq_restart_head_stage(const char *root, const char *name, i64 down_ns)
{
    WITH_BOX(root, name, {
        firmware_head_stage_power_on(box.state);
        box.state->link_back_ns = now_ns() + down_ns;
    })
}

EXPORT int virtual_daq_enqueue(const char *root, const char *name, const u8 packet[6])
{
    WITH_BOX(root, name, firmware_enqueue(&box, packet, 6, now_ns()))
}

EXPORT int virtual_daq_poke(const char *root, const char *name)
{
    WITH_BOX(root, name, )
}

EXPORT void virtual_daq_settle(const char *root)
{
    plug_settle(root);
}
