// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
//
// What the files of the virtual DAQ box share: the box's state, which lies in a file so that it
// outlives the client, the records of its logs, and an opened device node (struct handle).

#pragma once

#include <dlfcn.h>
#include <linux/uvcvideo.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define EXPORT __attribute__((visibility("default")))

// What a call would have reached without us. All are looked up when the library is loaded: dlsym
// waits while another thread loads a library, which may itself wait for the thread that calls.
struct next_call {
    const char *name;
    void **address;
};
#define NEXT(name)                                                                               \
    ({                                                                                           \
        static __typeof__(&name) next;                                                           \
        static struct next_call entry __attribute__((section("next_calls"), used)) = {           \
            #name, (void **)&next};                                                              \
        if (!next)                                                                               \
            next = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                   \
        next;                                                                                    \
    })

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;

enum { CONTROLS = 5, TEMPLATES = 32, CHOICES = 16, SLOTS = 64, PLAN = 1 << 20, BUFFERS = 32, URBS = 5 };
enum { OFFERS = 8 };
enum { LED, LED2, FOCUS, GAIN, FRAME_RATE };
enum image_mode { IMAGE_RAMP, IMAGE_LIT, IMAGE_BANK, IMAGE_STRIPES };
enum link_mode { LINK_GOOD, LINK_NEEDS_SERDES, LINK_NONE };
enum status { DELIVERED, LOST, UNFINISHED, NO_BUFFER };

enum frame_fault {  // in state.plan (by frame number), state.once and state.sticky
    FAULT_LOST = 1 << 0,         // lost on the way: sequence, counter and sync go on
    FAULT_UNFINISHED = 1 << 1,   // never finished by the box: only time goes on
    FAULT_ERROR_FLAG = 1 << 2,   // delivered with V4L2_BUF_FLAG_ERROR
    FAULT_SHORT = 1 << 3,        // half the bytes
    FAULT_EMPTY = 1 << 4,        // no bytes
    FAULT_STAMP_ZERO = 1 << 5,
    FAULT_STAMP_BACK = 1 << 6,   // half a period before the stamp reported last
    FAULT_STAMP_FAR = 1 << 7,    // an hour ahead
    FAULT_QUAT_BAD = 1 << 8,     // a norm of 1.5
    FAULT_QUAT_ZERO = 1 << 9,
    FAULT_QUAT_TORN = 1 << 10,   // w, x of this frame, y, z of another
    FAULT_QUAT_FROZEN = 1 << 11, // the last reading again
    FAULT_FREEZE = 1 << 12,      // from this frame on no frames, until a reset or a replug
    FAULT_UNPLUG = 1 << 13,      // gone at the end of this frame
    FAULT_STAMP_NONE = 1 << 14,  // the driver tells no clock: not V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC
    FAULT_TRANSFER = 1 << 15,    // a USB transfer fails: over V4L2 the whole ring comes back
};

enum protocol_fault {  // in the fault log
    PROTOCOL_ORDER = 1,  // GAMMA or SHARPNESS without the word before it
    PROTOCOL_HALF,       // CONTRAST threw a half-received packet away
    PROTOCOL_EMPTY,      // the words 0, 0, 0
    PROTOCOL_LENGTH,     // n outside 2..6
    PROTOCOL_OVERFLOW,   // more than 64 packets waiting
    PROTOCOL_COUNT,      // more than 4 packets in a write to the extension unit
};

// The layouts below are also read from Python; layout.c prints them from these same lists.
// F(type, name) is a scalar, A(type, name, count) an array.

#define STATE(F, A)                                                                              \
    A(u64, lock, 8)             /* a process-shared, robust pthread_mutex_t */                    \
    /* what is plugged in; set by the harness before plugging */                                 \
    A(char, port, 32)           /* USB port, "1-2" */                                            \
    A(char, card, 32)                                                                            \
    A(char, product, 64)                                                                         \
    A(u8, descriptors, 1024)                                                                     \
    A(char, vendor_id, 8)       /* USB vendor, "04b4" */                                         \
    A(char, product_id, 8)      /* USB product, "00f9" */                                        \
    A(char, speed, 8)           /* [Mbit/s] */                                                   \
    F(i32, descriptors_size)                                                                     \
    F(i32, number)              /* of the capture node; the metadata node has the next one */    \
    F(i32, device_number)       /* on the USB bus; another one after each plugging in */         \
    F(i32, sensor_width)                                                                         \
    F(i32, sensor_height)                                                                        \
    F(u32, extension_unit)      /* its number; 0: UCLA firmware */                               \
    A(u8, unit_version, 4)                                                                       \
    F(i32, interface_version)   /* HUE's answer to SATURATION = 2; 0: not answered */            \
    F(u32, fresh_controls)      /* bit mask by control index: not served from the cache */       \
    F(i32, control_maximum)     /* 65535; 255: too old firmware */                               \
    F(i64, readout_ns)          /* at most two thirds of the period are used */                  \
    F(i64, start_ns)            /* from STREAMON to the first frame's stamp */                   \
    F(i64, reading_ns)          /* from the frame's end to the orientation reading; 0: before */ \
    F(i64, reset_ns)            /* how long it is away after a reset */                          \
    F(i32, reset_number)        /* its number then; -1: the same */                              \
    F(i64, control_ns)          /* duration of a control transfer */                             \
    F(i64, read_ns)             /* the same of one that reads, in addition */                    \
    F(u32, usb_transfers)       /* that the kernel has memory for, over libusb; 0: any number */ \
    F(u32, missing_controls)    /* bit mask by control index: the device has no such control */  \
    F(double, rate_factor)      /* true rate / label */                                          \
    F(double, rate_override)    /* frames/s, whatever the register says; 0: the register */      \
    F(double, start_rate)       /* frames/s at power on */                                       \
    F(i32, image_mode)                                                                           \
    F(i32, bank_frames)         /* frames in the file "bank" */                                  \
    F(i64, jitter_ns)           /* standard deviation of the stamps */                           \
    F(u32, needs_init)          /* orientation only after 50 41, 50 3D were executed */          \
    F(u32, has_orientation)                                                                      \
    /* a plain UVC camera in place of a box: sizes and formats; none: it is a box */             \
    F(i32, offers)                                                                               \
    A(u32, offer_format, OFFERS)                                                                 \
    A(i32, offer_width, OFFERS)                                                                  \
    A(i32, offer_height, OFFERS)                                                                 \
    A(double, offer_rate, OFFERS * CHOICES) /* [frames/s]; 0 ends the list */                    \
    F(i32, offer)               /* the one that is set */                                        \
    F(u32, fixed_exposure)      /* it has no control of it */                                    \
    F(i32, exposure_mode)       /* enum v4l2_exposure_auto_type */                               \
    F(i32, exposure)            /* [0.1 ms] */                                                   \
    /* the type's control packets: byte kinds 0 fixed, 1 + k raw byte k, 9 + k second raw */     \
    F(i32, templates)                                                                            \
    A(i32, template_control, TEMPLATES)                                                          \
    A(i32, template_length, TEMPLATES)                                                           \
    A(u8, template_kind, TEMPLATES * 6)                                                          \
    A(u8, template_byte, TEMPLATES * 6)                                                          \
    A(i64, template_power_on, TEMPLATES)                                                         \
    A(double, light_dark, 2)    /* raw value of no light, led and led2 */                        \
    A(double, light_full, 2)    /* raw value of full light */                                    \
    A(i64, rate_raw, CHOICES)                                                                    \
    A(i64, rate_second, CHOICES) /* -1: none */                                                  \
    A(double, rate_value, CHOICES)                                                               \
    A(i64, gain_raw, CHOICES)                                                                    \
    A(double, gain_value, CHOICES)                                                               \
    /* the kernel's side */                                                                      \
    F(u32, poke)                /* futex: wakes the box's thread */                              \
    F(i32, present)                                                                              \
    F(i32, generation)          /* counts pluggings; an older handle is dead */                  \
    F(i64, reappear_ns)         /* when it plugs itself in again; 0: never */                    \
    F(i32, streaming)           /* see client_pid: not cleared by a killed client */             \
    F(i32, detached)            /* uvcvideo was taken off its interfaces */                      \
    F(i32, claimed)             /* bit mask of interfaces that a program has through usbfs */    \
    A(u8, probe, 34)            /* UVC probe control */                                          \
    F(i32, client_pid)                                                                           \
    F(u32, streams)             /* stream starts so far */                                       \
    F(i32, width)                                                                                \
    F(i32, height)                                                                               \
    F(u32, cached)              /* bit mask by control index */                                  \
    A(i64, cache, 16)                                                                            \
    F(u64, control_writes)                                                                       \
    F(u64, control_reads)                                                                        \
    F(u64, dequeued)                                                                             \
    /* the box */                                                                                \
    F(i32, saturation)                                                                           \
    F(i32, stage)               /* words of a packet received so far */                          \
    A(i32, words, 3)                                                                             \
    A(u8, queue_bytes, SLOTS * 8)                                                                \
    A(i64, queue_ns, SLOTS)     /* when its last word was written */                             \
    F(u32, queue_head)                                                                           \
    F(u32, queued)                                                                               \
    F(u32, queued_most)                                                                          \
    F(u32, flags)               /* Open Ephys control flags */                                   \
    F(u32, inputs)              /* digital inputs; bit 0 is the trigger */                       \
    F(u32, inputs_next)         /* what they become */                                           \
    F(u64, inputs_at)           /* from the frame of this number on; 0: never */                 \
    F(u64, inputs_changed)      /* number of the frame from which on they were so indeed */      \
    F(u32, looped)              /* the sync output drives the trigger input */                   \
    F(i32, frozen)                                                                               \
    F(i32, link)                /* enum link_mode */                                             \
    F(u64, frame)               /* number of the next frame */                                   \
    F(u32, counter)             /* frames finished since power on */                             \
    F(i64, power_on_ns)                                                                          \
    F(u64, sync_toggles)                                                                         \
    F(u64, executed)            /* packets */                                                    \
    F(i32, polling)             /* [FE 00] was executed */                                       \
    F(u32, awake)               /* bit 0, 1: 50 41, 50 3D executed since power on */             \
    F(i32, resting)             /* the animal rests: readings repeat */                          \
    F(i32, covered)             /* something lies on the lens: no light comes back */            \
    F(i64, link_back_ns)        /* frames that began before are never finished */                \
    F(u64, motion)              /* phase of the orientation's course */                          \
    A(i16, quaternion, 4)       /* the reading now on PAN, TILT */                               \
    A(i64, template_raw, TEMPLATES)                                                              \
    A(i64, raw, CONTROLS)       /* led, led2, focus, gain, frame_rate: registers now */          \
    A(i64, second, CONTROLS)                                                                     \
    A(double, light, 2)         /* 0 dark .. 1, led and led2 now */                              \
    F(double, gain)                                                                              \
    F(double, rate)             /* frames/s, label */                                            \
    A(i64, raw_start, CONTROLS) /* under which the frame now exposed began */                    \
    A(double, light_start, 2)                                                                    \
    F(double, gain_start)                                                                        \
    F(i64, reported_ns)         /* the stamp reported last */                                    \
    F(u64, random)                                                                               \
    F(i64, cpu_ns)              /* CPU time of the box's threads so far */                       \
    F(i32, thread_id)                                                                            \
    /* faults on command */                                                                      \
    F(u32, once)                /* for the next frame */                                         \
    F(u32, sticky)              /* for every frame */                                            \
    F(u32, bad_at_start)        /* frames damaged at each stream start */                        \
    F(i32, open_errno)                                                                           \
    F(i32, format_errno)                                                                         \
    F(i32, control_errno)       /* for writes of controls */                                     \
    F(i32, control_errors)      /* how many writes fail; -1: all */                              \
    F(i32, read_errno)          /* for reads of controls */                                      \
    F(i32, stream_errno)        /* for STREAMON */                                               \
    F(i32, reset_errno)         /* for opening the USB node */                                   \
    A(u16, plan, PLAN)          /* enum frame_fault by frame number, modulo its length */

#define WRITE_RECORD(F, A)                                                                       \
    F(i64, ns)                                                                                   \
    F(i64, value)               /* as asked for, before the kernel clamps it */                  \
    F(u32, control)             /* V4L2 id; 0x10000 | selector for the extension unit */         \
    F(i32, pid)                                                                                  \
    F(i32, error)               /* errno, 0: done */                                             \
    F(u32, queued)              /* packets waiting afterwards */

#define PACKET_RECORD(F, A)                                                                      \
    F(i64, ns)                  /* of its execution */                                           \
    F(i64, queued_ns)                                                                            \
    F(u64, frame)               /* at whose end */                                               \
    F(u32, stream)                                                                               \
    F(u16, length)                                                                               \
    A(u8, bytes, 6)

#define FAULT_RECORD(F, A)                                                                       \
    F(i64, ns)                                                                                   \
    F(i64, detail)                                                                               \
    F(u32, kind)                /* enum protocol_fault */                                        \
    F(i32, pid)

#define FRAME_RECORD(F, A)                                                                       \
    F(u64, frame)                                                                                \
    F(u32, stream)                                                                               \
    F(i32, status)                                                                               \
    F(u32, faults)                                                                               \
    F(i32, buffer)              /* -1: none */                                                   \
    F(i64, stamp_ns)            /* first payload, truly */                                       \
    F(i64, reported_ns)         /* as in the buffer, before it is cut to microseconds */         \
    F(i64, end_ns)              /* of the read-out, nominally */                                 \
    F(i64, ready_ns)            /* when the client could have it; 0: never */                    \
    F(i64, sequence)            /* -1: none */                                                   \
    F(u32, counter)             /* the box's, after this frame */                                \
    F(u32, executed)            /* packets at its end */                                         \
    F(i64, sync)                /* index of its edge since the box began; -1: none */            \
    F(u32, bytes)                                                                                \
    F(i32, level)               /* grey value in mode lit, else -1 */                            \
    A(i16, quaternion, 4)       /* the reading taken at its end */                          \
    A(i64, raw_start, CONTROLS) /* registers under which its exposure began and ended */         \
    A(i64, raw_end, CONTROLS)                                                                    \
    A(double, light_start, 2)                                                                    \
    A(double, light_end, 2)

#define DECLARE_SCALAR(type, name) type name;
#define DECLARE_ARRAY(type, name, count) type name[count];

struct state { STATE(DECLARE_SCALAR, DECLARE_ARRAY) };
struct write_record { WRITE_RECORD(DECLARE_SCALAR, DECLARE_ARRAY) };
struct packet_record { PACKET_RECORD(DECLARE_SCALAR, DECLARE_ARRAY) };
struct fault_record { FAULT_RECORD(DECLARE_SCALAR, DECLARE_ARRAY) };
struct frame_record { FRAME_RECORD(DECLARE_SCALAR, DECLARE_ARRAY) };

enum log { LOG_WRITES, LOG_PACKETS, LOG_FAULTS, LOG_FRAMES, LOGS };

struct box {  // one process's view of a box
    struct state *state;
    char root[512];
    char name[64];
    int logs[LOGS];
};

struct buffer {
    enum { IDLE, QUEUED, FILLING, DONE } state;
    i64 queued_ns, stamp_ns;
    u32 sequence, bytes, flags;
    u64 order;  // of queueing, then of completion
};

enum node { NODE_CAPTURE, NODE_METADATA, NODE_USB };

struct handle {  // one open file description
    enum node node;
    struct box box;
    pid_t pid;          // a forked child must not tear it down
    int references;     // file descriptors and calls under way
    int event;          // eventfd behind the descriptor: readable = a buffer is done, or gone
    bool readable;
    bool writable;
    int generation;
    int number;         // N of /dev/videoN
    int privilege;      // descriptor that holds the box's lock, -1: none
    int memory;         // memfd of the buffers
    u32 length;         // of one buffer
    u32 stride;         // from one buffer to the next
    u32 count;
    struct buffer buffers[BUFFERS];
    u64 order;
    u32 sequence;
    u32 transfer_errors; // since the stream was started
    bool streaming;
    pthread_t thread;
    atomic_bool stop;
};

// usb_stream.c: the bulk endpoint of an opened box.
void *usb_thread(void *handle);
bool usb_room(struct handle *h);
bool usb_emit(struct handle *h, const u8 *data, int size, bool failed);  // libusb.c

// state.c
int box_attach(struct box *box, const char *root, const char *name);
void box_detach(struct box *box);
int box_file(const struct box *box, const char *file, int flags);
void box_lock(struct box *box);
void box_unlock(struct box *box);
void box_log(struct box *box, enum log log, const void *record);
void box_fault(struct box *box, enum protocol_fault kind, i64 detail);
void box_poke(struct box *box);
i64 now_ns(void);

// firmware.c
void firmware_power_on(struct state *s);
void firmware_restart(struct state *s);
void firmware_head_stage_power_on(struct state *s);
void firmware_enqueue(struct box *box, const u8 packet[6], int words, i64 ns);
void firmware_word(struct box *box, int position, int word, i64 ns);
int firmware_execute(struct box *box, i64 end_ns);
void firmware_exposure_done(struct state *s);
void firmware_reading(struct state *s, u32 faults, i16 reading[4]);
double firmware_rate(const struct state *s);
double firmware_random(struct state *s);

// frames.c
struct painter;
struct painter *painter_new(struct handle *h);
void painter_free(struct painter *p);
u32 painter_paint(struct painter *p, struct handle *h, u32 index, struct frame_record *record);

// stream.c
bool wait_until(struct handle *h, i64 deadline);
u32 frame_faults(struct handle *h, i64 stamp);
void log_frame(struct handle *h, struct frame_record *r);
bool link_up(struct handle *h, i64 end);
void account(struct state *s, i64 *before);
int stream_run(struct handle *h, void *(*body)(void *));
int stream_start(struct handle *h);
void stream_stop(struct handle *h);

// controls.c
int controls_write(struct handle *h, u32 id, i32 asked);
i64 controls_read(struct state *s, u32 id);
int unit_query(struct handle *h, struct uvc_xu_control_query *q);
int controls_ioctl(struct handle *h, unsigned long request, void *argument, bool *known);

// camera.c
bool is_camera(const struct state *s);
u32 camera_frame_size(const struct state *s);
void camera_choose(struct state *s, int offer);
int camera_ioctl(struct handle *h, unsigned long request, void *argument, bool *known);
int camera_pictures(const struct handle *h);
u32 camera_paint(int pictures, struct handle *h, u32 index, u64 frame);

// device.c
struct size { int width, height; };
extern const struct size sizes[];
int acquire(struct handle *h);
int claim_format(struct handle *h);
void release(struct handle *h);
bool handle_alive(const struct handle *h);
void handle_signal(struct handle *h, bool readable);
int device_open(const char *node, int flags);  // descriptor, -1 with errno, -2: not a device
int device_ioctl(struct handle *h, int fd, unsigned long request, void *argument);
void *device_mmap(struct handle *h, void *address, size_t size, int protection, int flags,
                  i64 offset);
void device_free(struct handle *h);
short device_poll_error(struct handle *h);

// plug.c
void plug_driver_locked(struct box *box, bool uvcvideo, int claimed);
void plug_locked(struct box *box, int number);
void unplug_locked(struct box *box, i64 back_after_ns, int number);
void plug_settle(const char *root);

// shim.c
void handle_install(int fd, struct handle *h);
const char *virtual_root(void);
bool redirect(const char *path, char *target, size_t size);
