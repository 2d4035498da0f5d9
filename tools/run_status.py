# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What arrives of all scopes: a line for each scope."""
from collections.abc import Callable, Iterator
import contextlib
from threading import Thread
import time

from miniscope_msgs.msg import Controls, FrameInfo, OrientationRow
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
MARK = '/controls'
ORIENTATION = {
    FrameInfo.ORIENTATION_NONE: 'no reading', FrameInfo.ORIENTATION_PUBLISHED: 'published',
    FrameInfo.ORIENTATION_REPEATED: 'at rest', FrameInfo.ORIENTATION_INVALID: 'invalid',
    FrameInfo.ORIENTATION_STALE: 'stale'}


class Counts:
    """Counts what arrives of one scope."""

    def __init__(self, node: Node, scope: str) -> None:
        self._scope = scope
        self._frames = self._turns = self._lost = 0
        self._frame: FrameInfo | None = None
        self._lights: dict[str, float] = {}
        self._since = time.monotonic()
        node.create_subscription(FrameInfo, f'{scope}/frame_info', self._on_frame, 50)
        node.create_subscription(
            OrientationRow, f'{scope}/orientation_rows', self._on_turn, 50, raw=True)
        node.create_subscription(Controls, f'{scope}{MARK}', self._on_controls, LATCHED)

    def _on_frame(self, frame: FrameInfo) -> None:
        if frame.frame_index == 0:
            self._lost = 0
        self._frame = frame
        self._frames += 1
        self._lost += frame.lost_before

    def _on_turn(self, row: bytes) -> None:
        self._turns += 1

    def _on_controls(self, controls: Controls) -> None:
        self._lights = {
            name: value for name, value in zip(controls.names, controls.values, strict=True)
            if name.startswith('led')}

    def report(self) -> str:
        """Return what arrived since the last report, always in the same order."""
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        frames, turns = self._frames / seconds, self._turns / seconds
        self._frames = self._turns = 0
        frame = self._frame
        lights = ', '.join(f'{name} {value:g}' for name, value in self._lights.items())
        if frame is None:
            return f'{self._scope}: no frame yet'
        return (f'{self._scope}: frame {frame.frame_index}, {frames:.1f}/s, {self._lost} lost, '
                f'{lights or "no light"}, orientation {ORIENTATION[frame.orientation]} '
                f'{turns:.1f}/s')


class Watch(Node):
    """Finds scopes and counts what arrives of them."""

    def __init__(self) -> None:
        super().__init__('run_status', start_parameter_services=False)
        self._scopes: dict[str, Counts] = {}

    def report(self) -> list[str]:
        """Return how each scope does."""
        for topic, kinds in self.get_topic_names_and_types():
            scope = topic.removesuffix(MARK)
            if 'miniscope_msgs/msg/Controls' in kinds and scope not in self._scopes:
                self._scopes[scope] = Counts(self, scope)
        return [counts.report() for counts in self._scopes.values()] or ['no scope yet']


@contextlib.contextmanager
def watching() -> Iterator[Callable[[], list[str]]]:
    """Give a function that tells in a line of each how all scopes do."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Watch()

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            rclpy.spin(node)

    spinner = Thread(target=spin, daemon=True)
    spinner.start()
    try:
        yield node.report
    finally:
        rclpy.try_shutdown()
        spinner.join(2.0)
