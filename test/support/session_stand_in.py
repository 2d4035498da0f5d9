# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The interface of a session node, and nothing behind it: it writes only a certificate."""
import json
from pathlib import Path
import sys

from miniscope_msgs.msg import RecordingStatus
from miniscope_msgs.srv import StartRecording
import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String
from std_srvs.srv import Trigger

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Session(Node):
    """Says what a session node says."""

    def __init__(self, folder: Path) -> None:
        super().__init__('session')
        self._folder = folder
        self._current = ''
        self._status = self.create_publisher(RecordingStatus, '~/status', LATCHED)
        self._metadata = self.create_publisher(String, '~/metadata', LATCHED)
        self.create_service(StartRecording, '~/start', self._on_start)
        self.create_service(Trigger, '~/stop', self._on_stop)
        self.create_subscription(String, '~/note', self._on_note, 10)
        self._metadata.publish(String(data=json.dumps({'session': {'animal': 'from the file'}})))
        self._say(RecordingStatus.IDLE)

    def _say(self, state: int) -> None:
        self._status.publish(RecordingStatus(
            state=state, folder=self._current, duration_s=1.0, bytes=12_300_000,
            free_bytes=100_000_000_000, bytes_per_s=1e7, seconds_left=9800.0,
            topics=['/miniscope/image_raw'], published=[30], recorded=[30]))

    def _on_start(
        self, request: StartRecording.Request, response: StartRecording.Response,
    ) -> StartRecording.Response:
        if request.name == 'refused':
            response.message = 'the disk is full'
            return response
        print(f'start {request.name!r} with {request.notes!r}', flush=True)
        self._current = str(self._folder / (request.name or 'unnamed'))
        Path(self._current).mkdir()
        response.success, response.folder = True, self._current
        self._say(RecordingStatus.RECORDING)
        return response

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        Path(self._current, 'certificate.json').write_text(json.dumps({
            'verdict': 'complete', 'topics': {'/miniscope/image_raw': {'lost': 0}}}))
        print('stop', flush=True)
        response.success = True
        self._say(RecordingStatus.IDLE)
        return response

    def _on_note(self, note: String) -> None:
        print(f'note {note.data!r}', flush=True)


def main() -> None:
    """Run until a signal."""
    rclpy.init()
    node = Session(Path(sys.argv[1]))
    print('ready', flush=True)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        node.destroy_node()


if __name__ == '__main__':
    main()
