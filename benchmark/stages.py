# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The node with a stopwatch around each stage of a frame.

Arguments are the node's own. At its end it writes one JSON line to standard output: for each stage
its CPU time [ms], its elapsed time [ms] and its calls, and under 'frame' those of the whole turn;
all in the capture thread alone, as diagnostics and metadata are published by others.
"""
from collections.abc import Callable
import functools
import json
import threading
import time
from typing import Any

from miniscope_ros.acquisition.capture_loop import CaptureLoop
from miniscope_ros.acquisition.frame_content import FrameContent
from miniscope_ros.daq.firmware import UclaFirmware
from miniscope_ros.display.renderer import Display
from miniscope_ros.node import packers
from miniscope_ros.node.main import main
from miniscope_ros.node.publishers import Publishers
from miniscope_ros.sources import miniscope_link
from miniscope_ros.transports.v4l2 import V4l2Transport
from rclpy.publisher import Publisher

STAGES = {
    'wait and dequeue': (V4l2Transport, 'dequeue'),
    'orientation read': (UclaFirmware, 'telemetry'),
    'grey': (miniscope_link, 'extract_grey'),
    'requeue': (V4l2Transport, 'requeue'),
    'check of the picture': (FrameContent, 'check'),
    'display': (Display, 'render'),
    'publish': (Publisher, 'publish'),
    'frame': (CaptureLoop, '_step'),
}
FILL = ('packer', 'image_packer')  # make what fills messages


class Stopwatch:
    """Adds up what one function takes in the capture thread."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.cpu_ns = self.elapsed_ns = self.calls = 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with the watch around it."""
        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            if threading.current_thread().name != 'capture':
                return function(*arguments, **named)
            cpu_ns, begin_ns = time.thread_time_ns(), time.monotonic_ns()
            try:
                return function(*arguments, **named)
            finally:
                self.cpu_ns += time.thread_time_ns() - cpu_ns
                self.elapsed_ns += time.monotonic_ns() - begin_ns
                self.calls += 1
        return timed


def set_up() -> dict[str, Stopwatch]:
    """Put a stopwatch around each stage; they begin with the first published frame."""
    watches = {name: Stopwatch() for name in (*STAGES, 'fill')}
    for name, (owner, function) in STAGES.items():
        setattr(owner, function, watches[name].around(getattr(owner, function)))
    for function in FILL:
        setattr(packers, function, functools.partial(
            _watched, getattr(packers, function), watches['fill']))

    def begin(listener: Publishers, report: Callable[..., None]) -> None:
        for watch in watches.values():
            watch.reset()
        report(listener)

    Publishers.on_started = functools.partialmethod(begin, report=Publishers.on_started)
    return watches


def _watched(
        make: Callable[..., Callable[..., Any]], watch: Stopwatch, *arguments: Any,
) -> Callable[..., Any]:
    """Make a function, with the watch around it."""
    return watch.around(make(*arguments))


if __name__ == '__main__':
    stopwatches = set_up()
    try:
        main()
    finally:
        print(json.dumps({
            name: [watch.cpu_ns / 1e6, watch.elapsed_ns / 1e6, watch.calls]
            for name, watch in stopwatches.items()}), flush=True)
