# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What tests of the USB transport on the virtual DAQ box have in common."""
import contextlib

from miniscope_ros.transports import usb
from miniscope_ros.transports import v4l2_controls as controls
from miniscope_ros.transports.usb_uvc import UsbTransport
import numpy as np
from virtual_daq import Box, VirtualDaq

WORDS = (controls.PAN_ABSOLUTE, controls.TILT_ABSOLUTE)
HOLDER = """
import sys
from miniscope_ros.transports.usb_uvc import UsbTransport
transport = UsbTransport('1-1', '/dev/video0')
transport.open(608, 608)
transport.start(8)
print('streams', flush=True)
sys.stdin.readline()
"""


def transport_to(box: Box) -> UsbTransport:
    """Return the transport to a box."""
    return UsbTransport(box.config.port, box.path)


def opened(rig: VirtualDaq) -> 'contextlib.closing[UsbTransport]':
    """Open a rig's box; closed at the end of the with block."""
    transport = transport_to(rig.box)
    transport.open(*rig.box.scope['size'])
    return contextlib.closing(transport)


def record_of(rig: VirtualDaq, sequence: int) -> np.void:
    """Return the record of the first stream's frame with a sequence number."""
    rig.box.wait(lambda: len(rig.box.frames) and rig.box.frames['sequence'].max() >= sequence)
    records = rig.box.frames
    return records[records['sequence'] == sequence][0]


def driver(rig: VirtualDaq) -> tuple[str, str]:
    """Return the drivers of the box's two interfaces."""
    return usb.driver(rig.box.config.port, 0), usb.driver(rig.box.config.port, 1)
