# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Start a simulated scope and tell every few seconds, in plain words, what it streams."""
from collections import Counter
import contextlib
from pathlib import Path
import signal
import subprocess
import sys
import threading
import time

from ament_index_python.packages import get_package_prefix
from miniscope_msgs.msg import Controls, FrameInfo, OrientationRow
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu

SCOPE = '/miniscope'
PERIOD = 3.0  # [s] between two reports
PREVIEW = Path(__file__).resolve().parent.parent / 'build' / 'preview.jpg'
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
COUNTED = {'image_raw': Image, 'image_display': Image, 'camera_info': CameraInfo, 'imu/data': Imu}
ORIENTATION = {
    FrameInfo.ORIENTATION_NONE: 'no reading',
    FrameInfo.ORIENTATION_PUBLISHED: 'published',
    FrameInfo.ORIENTATION_REPEATED: 'at rest (reading repeated)',
    FrameInfo.ORIENTATION_INVALID: 'invalid',
    FrameInfo.ORIENTATION_STALE: 'stale',
}
HOW_TO = f"""
From another terminal with ROS 2 (and the same ROS_DOMAIN_ID):
  look      ros2 run rqt_image_view rqt_image_view {SCOPE}/image_display
  record    ros2 bag record -o my_recording {SCOPE}/image_raw {SCOPE}/image_raw/metadata \\
                {SCOPE}/frame_info {SCOPE}/orientation_rows {SCOPE}/orientation_rows/metadata \\
                {SCOPE}/controls {SCOPE}/control_changes
  brighter  ros2 param set {SCOPE} led 40.0
Without ROS 2 tools, any image viewer shows the newest picture: {PREVIEW}
Ctrl-C ends it.
"""


class Watch(Node):
    """Counts what arrives and keeps the newest of it."""

    def __init__(self) -> None:
        super().__init__('watch')
        self.counts: Counter[str] = Counter()
        self.reported = time.monotonic()
        self.lost = 0
        self.frame: FrameInfo | None = None
        self.row: OrientationRow | None = None
        self.led = float('nan')
        for topic, kind in COUNTED.items():
            self.create_subscription(
                kind, f'{SCOPE}/{topic}', lambda _, topic=topic: self.counts.update([topic]), 10,
                raw=True)
        self.create_subscription(FrameInfo, f'{SCOPE}/frame_info', self.on_frame, 10)
        self.create_subscription(OrientationRow, f'{SCOPE}/orientation_rows', self.on_row, 10)
        self.create_subscription(Controls, f'{SCOPE}/controls', self.on_controls, LATCHED)
        self.create_subscription(
            CompressedImage, f'{SCOPE}/image_display/compressed', self.on_preview, 1)
        self.preview_due = 0.0

    def on_frame(self, frame: FrameInfo) -> None:
        if self.frame is None:
            self.report()  # the first period starts with the first frame
        self.counts['frame_info'] += 1
        self.lost += frame.lost_before
        self.frame = frame

    def on_row(self, row: OrientationRow) -> None:
        self.counts['orientation_rows'] += 1
        self.row = row

    def on_controls(self, controls: Controls) -> None:
        self.led = dict(zip(controls.names, controls.values, strict=True)).get('led', self.led)

    def on_preview(self, image: CompressedImage) -> None:
        if time.monotonic() >= self.preview_due:
            self.preview_due = time.monotonic() + PERIOD
            unfinished = PREVIEW.with_suffix('.part')
            unfinished.write_bytes(image.data)
            unfinished.replace(PREVIEW)

    def report(self) -> str:
        """Return what arrived since the last report, and start to count anew."""
        counts, self.counts = self.counts, Counter()
        before, self.reported = self.reported, time.monotonic()
        seconds = self.reported - before
        if self.frame is None:
            return 'No frame yet.'
        rates = ', '.join(f'{topic} {count / seconds:.1f}/s' for topic, count in counts.items())
        text = (f'Frame {self.frame.frame_index}, {self.lost} lost, LED {self.led:g} %. '
                f'Orientation {ORIENTATION[self.frame.orientation]}')
        if self.row is not None:
            row = self.row
            text += f', w x y z = {row.qw:.2f} {row.qx:.2f} {row.qy:.2f} {row.qz:.2f}'
        return f'{text}.\n    {rates or "nothing arrived"}'


def spin(node: Node) -> None:
    with contextlib.suppress(ExternalShutdownException):
        rclpy.spin(node)


def main() -> int:
    """Run the scope until Ctrl-C or its own end; return its exit status."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print(f'A simulated Miniscope V4 starts; its topics are under {SCOPE}/.\n{HOW_TO}', flush=True)
    executable = Path(get_package_prefix('miniscope_ros'), 'lib', 'miniscope_ros', 'scope_node')
    scope = subprocess.Popen(
        [sys.executable, executable, '--ros-args', '-p', 'source:=simulated', '-p', 'led:=20.0'])
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    watch = Watch()
    spinner = threading.Thread(target=spin, args=[watch])
    spinner.start()
    while scope.poll() is None and not stop.wait(PERIOD):
        print(watch.report(), flush=True)
    if scope.poll() is None:
        scope.send_signal(signal.SIGINT)
    status = scope.wait(timeout=10)
    rclpy.try_shutdown()
    spinner.join()
    print(f'The scope has ended with exit status {status}.')
    return status


if __name__ == '__main__':
    sys.exit(main())
