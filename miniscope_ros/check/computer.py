# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks of what the computer shows of the box before anything is opened."""

from __future__ import annotations

import os
import platform

from miniscope_ros.check.bench import Bench
from miniscope_ros.check.finding import Finding, judged, Outcome
from miniscope_ros.daq.firmware import OPEN_EPHYS_UNIT
from miniscope_ros.errors import DeviceError
from miniscope_ros.transports import discovery, usb
from miniscope_ros.transports.choice import choose

_SUPER_SPEED = 5000  # [Mbit/s]


def usb_identity(bench: Bench) -> Finding:
    """Look for the box: vendor and product, and what it calls itself."""
    expected = ':'.join(discovery.BOX)
    try:
        found = bench.find()
    except DeviceError as error:
        return Finding(Outcome.FAIL, str(error), expected)
    name = found.video.name if found.video else 'no video node'
    product = usb.attribute_at(found.usb_port, 'idProduct')
    vendor = usb.attribute_at(found.usb_port, 'idVendor')
    return judged(
        (vendor, product) == discovery.BOX, f'{vendor}:{product} "{name}"', expected,
        usb_port=found.usb_port)


def usb_speed(bench: Bench) -> Finding:
    """Read the speed at which the box runs."""
    text = usb.attribute_at(bench.port, 'speed')
    return judged(
        float(text) >= _SUPER_SPEED, f'{text} Mbit/s',
        f'{_SUPER_SPEED} or more: a USB 3 port and cable, no hub', speed=float(text))


def rights(bench: Bench) -> Finding:
    """Look whether this user may open the video node and the USB node."""
    nodes = [node for node in (bench.video, usb.node_path(bench.port)) if node]
    closed = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    return judged(
        not closed,
        f'no right to open {", ".join(closed)}' if closed else f'may open {" and ".join(nodes)}',
        'may open the video node and the USB node (the udev rule 70-miniscope.rules)')


def kernel_and_transport(bench: Bench) -> Finding:
    """Decide the transport as the node would."""
    choice = choose(
        bench.settings.transport, bench.port, bool(bench.video), OPEN_EPHYS_UNIT,
        orientation=bench.device_type.orientation, trigger=False)
    return judged(
        not choice.warning,
        f'Linux {os.uname().release}, transport {choice.kind}: {choice.warning or choice.reason}',
        'a transport that can read everything', kernel=os.uname().release,
        machine=platform.machine(), python=platform.python_version(), transport=choice.kind)
