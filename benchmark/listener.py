# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The subscribers, a process of their own: notes when which message came.

Arguments: the name above the topics, the file to write the notes to, the topics. Says 'heard' when
each topic has been heard. On SIGINT it writes for each topic the pairs (stamp, time of the
callback), both in ns, the time by CLOCK_MONOTONIC.
"""
from array import array
from collections.abc import Callable
import signal
import sys
import time
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from . import topics


def note(notes: array, waiting: set[str], topic: str) -> Callable[[Any], None]:
    """Return the callback of one topic."""
    def callback(message: Any) -> None:
        now = time.monotonic_ns()
        stamp = message.header.stamp
        notes.extend((stamp.sec * 1_000_000_000 + stamp.nanosec, now))
        if topic in waiting:
            waiting.remove(topic)
            if not waiting:
                print('heard', flush=True)
    return callback


def main() -> None:
    """Listen until SIGINT."""
    scope, path, *names = sys.argv[1:]
    going = [True]
    # rclpy's own handlers may let a KeyboardInterrupt through later, while the notes are written.
    signal.signal(signal.SIGINT, lambda *_: going.clear())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('listener')
    waiting = set(names)
    notes = {name: array('q') for name in names}
    for name in names:
        node.create_subscription(
            topics.TYPES[name], f'{scope}/{name}', note(notes[name], waiting, name),
            topics.SUBSCRIBED)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while going:
        executor.spin_once(timeout_sec=0.1)
    np.savez(path, **{name: np.array(pairs).reshape(-1, 2) for name, pairs in notes.items()})


if __name__ == '__main__':
    main()
