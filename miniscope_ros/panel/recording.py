# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The session node as the panel knows it: starts, stops and annotates recordings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

from miniscope_msgs.msg import RecordingStatus
from miniscope_msgs.srv import StartRecording
from miniscope_ros.panel.certificate import read_certificate
from miniscope_ros.panel.form import Form
from miniscope_ros.panel.ros_link import LATCHED, RosLink, UnansweredError
from rclpy.publisher import Publisher
from std_msgs.msg import String
from std_srvs.srv import Trigger
import yaml

SESSION = '/session'
STATES = ('idle', 'waiting for trigger', 'starting', 'recording', 'stopping', 'failed')
_RUNNING = ('waiting for trigger', 'starting', 'recording')
_START_S = 60.0  # scopes are activated again, recorders started
_STOP_S = 120.0  # the recorder empties its cache, files are hashed


class Recording:
    """The recording of a session node; to be used in the event loop."""

    def __init__(
        self, link: RosLink, form: Form, changed: Callable[[], None], session: str = SESSION,
    ) -> None:
        """Listen to the session node of that name; changed is called when there is news."""
        self.form = form
        self._link = link
        self._session = session
        self._changed = changed
        self._status: dict[str, Any] = {}
        self._metadata: dict[str, Any] = {}
        self._finished: dict[str, Any] = {}
        self._stop_task: asyncio.Task[None] | None = None
        self._stop_at = 0.0
        self._subscriptions = [
            link.subscribe(RecordingStatus, f'{session}/status', self._on_status, LATCHED),
            link.subscribe(String, f'{session}/metadata', self._on_metadata, LATCHED)]
        self._start = link.node.create_client(StartRecording, f'{session}/start')
        self._stop = link.node.create_client(Trigger, f'{session}/stop')
        self._note: Publisher = link.node.create_publisher(String, f'{session}/note', 10)

    def close(self) -> None:
        """Give up everything that is held of ROS."""
        self._forget_duration()
        self._link.remove(*self._subscriptions, self._start, self._stop, self._note)

    def _on_status(self, message: Any) -> None:
        before = self._status
        self._status = {
            'state': STATES[message.state] if message.state < len(STATES) else 'unknown',
            'folder': message.folder, 'duration': message.duration_s, 'bytes': message.bytes,
            'free': message.free_bytes, 'rate': message.bytes_per_s,
            'secondsLeft': message.seconds_left, 'message': message.message,
            'topics': [
                {'topic': topic, 'published': published, 'recorded': recorded}
                for topic, published, recorded in zip(
                    message.topics, message.published, message.recorded, strict=False)]}
        state = self._status['state']
        if state not in _RUNNING:
            self._forget_duration()
        ended = state in ('idle', 'failed') and before.get('state') not in (None, 'idle', 'failed')
        folder = message.folder or before.get('folder', '')
        if folder and (ended or (state in ('idle', 'failed') and not self._finished)):
            self._finished = {'folder': folder, 'failed': state == 'failed',
                              'message': message.message, **read_certificate(Path(folder))}
        self._changed()

    def _on_metadata(self, message: Any) -> None:
        try:
            self._metadata = json.loads(message.data)
            session = self._metadata.get('session', {})
            self.form.suggest({str(name): str(text) for name, text in session.items()
                               if isinstance(text, (str, int, float))})
        except (ValueError, AttributeError):
            self._metadata = {}
        self._changed()

    @property
    def available(self) -> bool:
        """Whether there is a session node."""
        return bool(self._start.service_is_ready())

    @property
    def is_running(self) -> bool:
        """Whether a recording runs, or waits for its trigger."""
        return self._status.get('state') in _RUNNING

    def as_json(self) -> dict[str, Any]:
        """Return all as the page takes it."""
        left = self._stop_at - asyncio.get_running_loop().time() if self._stop_task else None
        return {
            'available': self.available, 'status': self._status, 'finished': self._finished,
            'form': self.form.fields, 'stopsIn': left, 'session': self._session}

    async def start(self, name: str, fields: dict[str, str], minutes: float) -> tuple[bool, str]:
        """
        Start a recording with what was filled in; minutes of 0 mean that it has no end.

        Returns whether it began, and the folder or the reason why not.
        """
        problem = self.keep_form(fields)
        if not self.available:
            return False, f'there is no session node {self._session}: start session_node'
        self._finished = {}
        answer = await self._link.call(
            self._start, StartRecording.Request(name=name, notes=self._notes(fields)), _START_S)
        if not answer.success:
            return False, str(answer.message)
        if minutes:
            self._stop_at = asyncio.get_running_loop().time() + minutes * 60
            self._stop_task = asyncio.ensure_future(self._stop_later(minutes * 60))
        return True, '; '.join(filter(None, (f'recording into {answer.folder}', problem)))

    @staticmethod
    def _notes(fields: dict[str, str]) -> str:
        """Return the filled-in form as YAML, which a session node records with the data."""
        filled = {name: text.strip() for name, text in fields.items() if text.strip()}
        return str(yaml.safe_dump(filled, sort_keys=False, allow_unicode=True)) if filled else ''

    def keep_form(self, fields: dict[str, str]) -> str:
        """Keep what was filled in for the next run; return why that failed, or nothing."""
        try:
            self.form.keep(fields)
        except (OSError, ValueError) as error:
            return f'the form could not be kept: {error}'
        self._changed()
        return ''

    async def _stop_later(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._stop_task = None
        try:
            await self.stop()
        except UnansweredError as error:
            self._link.node.get_logger().error(f'the recording was not stopped: {error}')

    def _forget_duration(self) -> None:
        if self._stop_task is not None:
            self._stop_task.cancel()
            self._stop_task = None

    async def stop(self) -> tuple[bool, str]:
        """Stop the recording; return whether that went well, and what the node says."""
        self._forget_duration()
        answer = await self._link.call(self._stop, Trigger.Request(), _STOP_S)
        return bool(answer.success), str(answer.message) or 'the recording is stopped'

    def note(self, text: str) -> tuple[bool, str]:
        """Send a remark, which the session node stamps and records."""
        if not self._note.get_subscription_count():
            return False, f'no session node takes notes: there is no subscriber of {self._session}'
        self._note.publish(String(data=text))
        return True, 'noted'
