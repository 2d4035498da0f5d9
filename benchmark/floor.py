# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The floor: the least that publishing the same messages from Python costs.

A bare loop: messages prepared beforehand, nothing captured, nothing processed. Arguments: the
kind, the name above the topics, the file to write the notes to, width, height, frames/s, the
topics; without any the loop only sleeps. Says 'publishing' before the first message. Stamps are
CLOCK_MONOTONIC just before publish; on SIGINT they are written.

The kind 'floor' publishes message objects, as everybody does. The node serializes its messages
itself, so it can be below that; hence the kind 'serialized', which has them serialized beforehand
and per frame only writes the stamp.
"""
from array import array
from collections.abc import Iterable
import signal
import struct
import sys
import time
from typing import Any

from builtin_interfaces.msg import Time
import numpy as np
import rclpy
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions

from . import topics

# A message begins with its header, and that with the stamp, after 4 bytes that tell the encoding.
STAMP = struct.Struct('=iI')
STAMP_OFFSET = 4


def prepare(width: int, height: int, names: Iterable[str]) -> dict[str, Any]:
    """Return a complete message for each topic."""
    pixels = np.random.default_rng(1).integers(0, 255, width * height, np.uint8)
    messages = {name: topics.TYPES[name]() for name in names}
    for name, message in messages.items():
        message.header.frame_id = 'miniscope_optical_frame'
        if name in topics.IMAGES:
            message.width, message.height, message.step = width, height, width
            message.encoding = 'mono8'
            message.data.frombytes(pixels)
    return messages


def publish_objects(outgoing: list[tuple[Publisher, Any]], now: int) -> None:
    """Publish message objects with the stamp [ns]."""
    stamp = Time(sec=now // 1_000_000_000, nanosec=now % 1_000_000_000)
    for publisher, message in outgoing:
        message.header.stamp = stamp
        publisher.publish(message)


def publish_serialized(outgoing: list[tuple[Publisher, bytearray]], now: int) -> None:
    """Publish serialized messages with the stamp [ns]."""
    for publisher, message in outgoing:
        STAMP.pack_into(message, STAMP_OFFSET, now // 1_000_000_000, now % 1_000_000_000)
        publisher.publish(bytes(message))


def main() -> None:
    """Publish until SIGINT."""
    kind, scope, path, width, height, rate, *names = sys.argv[1:]
    messages = prepare(int(width), int(height), names)
    going = [True]
    signal.signal(signal.SIGINT, lambda *_: going.clear())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('floor')
    outgoing = [
        (node.create_publisher(type(message), f'{scope}/{name}', topics.PUBLISHED), message)
        for name, message in messages.items()]
    publish = publish_objects
    if kind == 'serialized':
        publish = publish_serialized
        outgoing = [
            (publisher, bytearray(serialize_message(message))) for publisher, message in outgoing]
    print('publishing', flush=True)
    stamps = array('q')
    period = 1 / float(rate)
    due = time.monotonic()
    while going:
        due += period
        time.sleep(max(0.0, due - time.monotonic()))
        now = time.monotonic_ns()
        publish(outgoing, now)
        stamps.append(now)
    for publisher, _ in outgoing:
        publisher.wait_for_all_acked(Duration(seconds=1))
    np.save(path, np.array(stamps))


if __name__ == '__main__':
    main()
