# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The floor: the least that publishing the same messages from Python costs.

A bare loop: messages prepared beforehand, nothing captured, nothing processed. Arguments: the name
above the topics, the file to write the notes to, width, height, frames/s. Says 'publishing' before
the first message. Stamps are CLOCK_MONOTONIC just before publish; on SIGINT they are written.
"""
from array import array
import signal
import sys
import time
from typing import Any

from builtin_interfaces.msg import Time
import numpy as np
import rclpy
from rclpy.duration import Duration
from rclpy.signals import SignalHandlerOptions

from . import topics


def prepare(width: int, height: int) -> dict[str, Any]:
    """Return a complete message for each topic."""
    pixels = np.random.default_rng(1).integers(0, 255, width * height, np.uint8)
    messages = {name: kind() for name, kind in topics.TYPES.items()}
    for name, message in messages.items():
        message.header.frame_id = 'miniscope_optical_frame'
        if name in topics.IMAGES:
            message.width, message.height, message.step = width, height, width
            message.encoding = 'mono8'
            message.data.frombytes(pixels)
    return messages


def main() -> None:
    """Publish until SIGINT."""
    scope, path, width, height, rate = sys.argv[1:]
    messages = prepare(int(width), int(height))
    going = [True]
    signal.signal(signal.SIGINT, lambda *_: going.clear())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('floor')
    publishers = {
        name: node.create_publisher(kind, f'{scope}/{name}', topics.PUBLISHED)
        for name, kind in topics.TYPES.items()}
    print('publishing', flush=True)
    stamps = array('q')
    period = 1 / float(rate)
    due = time.monotonic()
    while going:
        due += period
        time.sleep(max(0.0, due - time.monotonic()))
        now = time.monotonic_ns()
        stamp = Time(sec=now // 1_000_000_000, nanosec=now % 1_000_000_000)
        for name, message in messages.items():
            message.header.stamp = stamp
            publishers[name].publish(message)
        stamps.append(now)
    for publisher in publishers.values():
        publisher.wait_for_all_acked(Duration(seconds=1))
    np.save(path, np.array(stamps))


if __name__ == '__main__':
    main()
