# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The part of the kernel's V4L2 interface that we use: structures, request numbers, flags.

From linux/videodev2.h, linux/uvcvideo.h and linux/usbdevice_fs.h. Sizes follow the machine's
pointers and longs, so that 32-bit systems get their own layout.
"""

import ctypes
from ctypes import c_char, c_int32, c_long, c_ubyte, c_uint16, c_uint32, c_ulong, c_void_p

BUF_TYPE_VIDEO_CAPTURE = 1
MEMORY_MMAP = 1
FIELD_NONE = 1
PIX_FMT_YUYV = int.from_bytes(b'YUYV', 'little')

CAP_VIDEO_CAPTURE = 0x00000001
CAP_STREAMING = 0x04000000
CAP_DEVICE_CAPS = 0x80000000

BUF_FLAG_ERROR = 0x00000040
BUF_FLAG_TIMESTAMP_MASK = 0x0000E000
BUF_FLAG_TIMESTAMP_MONOTONIC = 0x00002000

DISCRETE = 1  # type of a size or an interval

CTRL_FLAG_DISABLED = 0x00000001

EXPOSURE_MANUAL = 1

UVC_SET_CUR = 0x01
UVC_GET_CUR = 0x81


class Capability(ctypes.Structure):
    """What a device node is (struct v4l2_capability)."""

    _fields_ = [
        ('driver', c_char * 16), ('card', c_char * 32), ('bus_info', c_char * 32),
        ('version', c_uint32), ('capabilities', c_uint32), ('device_caps', c_uint32),
        ('reserved', c_uint32 * 3)]


class PixelFormat(ctypes.Structure):
    """An image format (struct v4l2_pix_format)."""

    _fields_ = [
        ('width', c_uint32), ('height', c_uint32), ('pixelformat', c_uint32),
        ('field', c_uint32), ('bytesperline', c_uint32), ('sizeimage', c_uint32),
        ('colorspace', c_uint32), ('priv', c_uint32), ('flags', c_uint32),
        ('ycbcr_enc', c_uint32), ('quantization', c_uint32), ('xfer_func', c_uint32)]


class _FormatUnion(ctypes.Union):
    # Other members hold pointers, which decides the alignment.
    _fields_ = [('pix', PixelFormat), ('raw_data', c_ubyte * 200), ('_pointer', c_void_p)]


class Format(ctypes.Structure):
    """The format of a stream (struct v4l2_format)."""

    _anonymous_ = ('fmt',)
    _fields_ = [('type', c_uint32), ('fmt', _FormatUnion)]


class RequestBuffers(ctypes.Structure):
    """A request for a ring of buffers (struct v4l2_requestbuffers)."""

    _fields_ = [
        ('count', c_uint32), ('type', c_uint32), ('memory', c_uint32),
        ('capabilities', c_uint32), ('reserved', c_uint32)]


class TimeValue(ctypes.Structure):
    """A time (struct timeval)."""

    _fields_ = [('seconds', c_long), ('microseconds', c_long)]


class TimeCode(ctypes.Structure):
    """A film's time code, unused (struct v4l2_timecode)."""

    _fields_ = [('type', c_uint32), ('flags', c_uint32), ('counts', c_ubyte * 8)]


class _Place(ctypes.Union):
    _fields_ = [('offset', c_uint32), ('_userptr', c_ulong), ('_planes', c_void_p)]


class Buffer(ctypes.Structure):
    """One buffer of the ring (struct v4l2_buffer)."""

    _anonymous_ = ('m',)
    _fields_ = [
        ('index', c_uint32), ('type', c_uint32), ('bytesused', c_uint32), ('flags', c_uint32),
        ('field', c_uint32), ('timestamp', TimeValue), ('timecode', TimeCode),
        ('sequence', c_uint32), ('memory', c_uint32), ('m', _Place), ('length', c_uint32),
        ('reserved2', c_uint32), ('request_fd', c_int32)]


class Control(ctypes.Structure):
    """A control's value (struct v4l2_control)."""

    _fields_ = [('id', c_uint32), ('value', c_int32)]


class ExtControl(ctypes.Structure):
    """A control's value within a group (struct v4l2_ext_control, which is packed)."""

    _fields_ = [
        ('id', c_uint32), ('size', c_uint32), ('reserved2', c_uint32),
        ('value', c_int32), ('_value64_upper', c_int32)]


class ExtControls(ctypes.Structure):
    """A group of controls (struct v4l2_ext_controls)."""

    _fields_ = [
        ('which', c_uint32), ('count', c_uint32), ('error_idx', c_uint32),
        ('request_fd', c_int32), ('reserved', c_uint32),
        ('controls', ctypes.POINTER(ExtControl))]


class QueryControl(ctypes.Structure):
    """A control's range (struct v4l2_queryctrl)."""

    _fields_ = [
        ('id', c_uint32), ('type', c_uint32), ('name', c_char * 32), ('minimum', c_int32),
        ('maximum', c_int32), ('step', c_int32), ('default_value', c_int32),
        ('flags', c_uint32), ('reserved', c_uint32 * 2)]


class UnitQuery(ctypes.Structure):
    """A request to an extension unit (struct uvc_xu_control_query)."""

    _fields_ = [
        ('unit', c_ubyte), ('selector', c_ubyte), ('query', c_ubyte), ('size', c_uint16),
        ('data', ctypes.POINTER(c_ubyte))]


class FormatDescription(ctypes.Structure):
    """One of the formats that a device offers (struct v4l2_fmtdesc)."""

    _fields_ = [
        ('index', c_uint32), ('type', c_uint32), ('flags', c_uint32), ('description', c_char * 32),
        ('pixelformat', c_uint32), ('mbus_code', c_uint32), ('reserved', c_uint32 * 3)]


class FrameSize(ctypes.Structure):
    """One of the sizes of a format; a discrete one (struct v4l2_frmsizeenum)."""

    _fields_ = [
        ('index', c_uint32), ('pixel_format', c_uint32), ('type', c_uint32), ('width', c_uint32),
        ('height', c_uint32), ('_stepwise', c_uint32 * 4), ('reserved', c_uint32 * 2)]


class FrameInterval(ctypes.Structure):
    """One of the intervals of a size; a discrete one (struct v4l2_frmivalenum)."""

    _fields_ = [
        ('index', c_uint32), ('pixel_format', c_uint32), ('width', c_uint32),
        ('height', c_uint32), ('type', c_uint32), ('numerator', c_uint32),
        ('denominator', c_uint32), ('_stepwise', c_uint32 * 4), ('reserved', c_uint32 * 2)]


class CaptureParameters(ctypes.Structure):
    """How a camera captures (struct v4l2_captureparm); the interval is a fraction [s]."""

    _fields_ = [
        ('capability', c_uint32), ('capturemode', c_uint32), ('numerator', c_uint32),
        ('denominator', c_uint32), ('extendedmode', c_uint32), ('readbuffers', c_uint32),
        ('reserved', c_uint32 * 4)]


class _StreamUnion(ctypes.Union):
    _fields_ = [('capture', CaptureParameters), ('raw_data', c_ubyte * 200)]


class StreamParameters(ctypes.Structure):
    """The frame rate of a stream (struct v4l2_streamparm)."""

    _anonymous_ = ('parm',)
    _fields_ = [('type', c_uint32), ('parm', _StreamUnion)]


class UsbIoctl(ctypes.Structure):
    """A request to an interface of a USB device (struct usbdevfs_ioctl)."""

    _fields_ = [('interface', c_int32), ('ioctl_code', c_int32), ('data', c_void_p)]


def _read(kind: str, number: int, data: type[ctypes.Structure]) -> int:
    return 2 << 30 | ctypes.sizeof(data) << 16 | ord(kind) << 8 | number


def _write(kind: str, number: int, data: type[ctypes.Structure] | type[c_int32]) -> int:
    return 1 << 30 | ctypes.sizeof(data) << 16 | ord(kind) << 8 | number


def _both(kind: str, number: int, data: type[ctypes.Structure]) -> int:
    return _read(kind, number, data) | 1 << 30


VIDIOC_QUERYCAP = _read('V', 0, Capability)
VIDIOC_ENUM_FMT = _both('V', 2, FormatDescription)
VIDIOC_G_FMT = _both('V', 4, Format)
VIDIOC_S_FMT = _both('V', 5, Format)
VIDIOC_REQBUFS = _both('V', 8, RequestBuffers)
VIDIOC_QUERYBUF = _both('V', 9, Buffer)
VIDIOC_QBUF = _both('V', 15, Buffer)
VIDIOC_DQBUF = _both('V', 17, Buffer)
VIDIOC_STREAMON = _write('V', 18, c_int32)
VIDIOC_STREAMOFF = _write('V', 19, c_int32)
VIDIOC_G_PARM = _both('V', 21, StreamParameters)
VIDIOC_S_PARM = _both('V', 22, StreamParameters)
VIDIOC_S_CTRL = _both('V', 28, Control)
VIDIOC_QUERYCTRL = _both('V', 36, QueryControl)
VIDIOC_G_EXT_CTRLS = _both('V', 71, ExtControls)
VIDIOC_ENUM_FRAMESIZES = _both('V', 74, FrameSize)
VIDIOC_ENUM_FRAMEINTERVALS = _both('V', 75, FrameInterval)
UVCIOC_CTRL_QUERY = _both('u', 0x21, UnitQuery)
USBDEVFS_RESET = ord('U') << 8 | 20
USBDEVFS_IOCTL = _both('U', 18, UsbIoctl)
USBDEVFS_CONNECT = ord('U') << 8 | 23
