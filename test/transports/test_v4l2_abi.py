# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's own headers say the same as our structures and numbers."""
import ctypes
from pathlib import Path
import subprocess

from miniscope_ros.transports import v4l2_abi as abi
from miniscope_ros.transports import v4l2_controls as controls

HEADERS = (
    'linux/videodev2.h', 'linux/uvcvideo.h', 'linux/usb/video.h', 'linux/usbdevice_fs.h')

STRUCTURES = {
    abi.Capability: 'v4l2_capability', abi.PixelFormat: 'v4l2_pix_format',
    abi.Format: 'v4l2_format', abi.RequestBuffers: 'v4l2_requestbuffers',
    abi.TimeCode: 'v4l2_timecode', abi.Buffer: 'v4l2_buffer', abi.Control: 'v4l2_control',
    abi.ExtControl: 'v4l2_ext_control', abi.ExtControls: 'v4l2_ext_controls',
    abi.QueryControl: 'v4l2_queryctrl', abi.UnitQuery: 'uvc_xu_control_query',
    abi.StreamParameters: 'v4l2_streamparm',
}
OTHER_NAMES = {'counts': 'frames', '_value64_upper': None, 'reserved2': None}
V4L2_NAMES = (
    'BUF_TYPE_VIDEO_CAPTURE', 'MEMORY_MMAP', 'FIELD_NONE', 'PIX_FMT_YUYV',
    'EXPOSURE_MANUAL', 'CAP_VIDEO_CAPTURE', 'CAP_STREAMING', 'CAP_DEVICE_CAPS',
    'BUF_FLAG_ERROR', 'BUF_FLAG_TIMESTAMP_MASK', 'BUF_FLAG_TIMESTAMP_MONOTONIC',
    'CTRL_FLAG_DISABLED')
NAMES = (
    'UVC_SET_CUR', 'UVC_GET_CUR', 'VIDIOC_QUERYCAP', 'VIDIOC_G_FMT', 'VIDIOC_S_FMT',
    'VIDIOC_G_PARM', 'VIDIOC_S_PARM', 'VIDIOC_REQBUFS',
    'VIDIOC_QUERYBUF', 'VIDIOC_QBUF', 'VIDIOC_DQBUF', 'VIDIOC_STREAMON', 'VIDIOC_STREAMOFF',
    'VIDIOC_S_CTRL', 'VIDIOC_QUERYCTRL', 'VIDIOC_G_EXT_CTRLS', 'UVCIOC_CTRL_QUERY',
    'USBDEVFS_RESET')
CONTROLS = (
    'BRIGHTNESS', 'CONTRAST', 'SATURATION', 'HUE', 'GAMMA', 'GAIN', 'SHARPNESS',
    'EXPOSURE_AUTO', 'EXPOSURE_ABSOLUTE', 'PAN_ABSOLUTE', 'TILT_ABSOLUTE')


def ours() -> dict[str, int]:
    """Return our numbers by the C expression that must have the same value."""
    numbers = {name: getattr(abi, name) for name in NAMES}
    numbers |= {f'V4L2_{name}': getattr(abi, name) for name in V4L2_NAMES}
    numbers |= {f'V4L2_CID_{name}': getattr(controls, name) for name in CONTROLS}
    for structure, name in STRUCTURES.items():
        numbers[f'sizeof(struct {name})'] = ctypes.sizeof(structure)
        for field, *_ in structure._fields_:
            known = OTHER_NAMES.get(field, field)
            if known and (field, name) != ('reserved', 'v4l2_requestbuffers'):
                numbers[f'offsetof(struct {name}, {known})'] = getattr(structure, field).offset
    return numbers


def test_kernel_headers_agree(tmp_path: Path) -> None:
    numbers = ours()
    lines = [
        *(f'#include <{header}>' for header in HEADERS), '#include <stddef.h>',
        '#include <stdio.h>', 'int main(void) {',
        *(f'printf("%lld\\n", (long long)({expression}));' for expression in numbers), '}']
    source = tmp_path / 'kernel.c'
    source.write_text('\n'.join(lines))
    subprocess.run(['gcc', str(source), '-o', str(tmp_path / 'kernel')], check=True)
    printed = subprocess.run(
        [str(tmp_path / 'kernel')], check=True, stdout=subprocess.PIPE, text=True).stdout
    kernel = dict(zip(numbers, map(int, printed.split()), strict=True))
    assert kernel == numbers
