# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The node `session`: starts and stops recordings, and says how they do.

Services and topics are served by an executor in a thread; recordings run in another, which has a
node of its own for what it asks of the scopes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import contextlib
from dataclasses import replace
from datetime import datetime
import json
import logging
from queue import Empty, SimpleQueue
from threading import Event, Lock
import time
from typing import Any, NamedTuple

from miniscope_msgs.msg import Note, RecordingStatus
from miniscope_msgs.srv import StartRecording
from miniscope_ros.errors import DeviceError, Interrupted, MiniscopeError
from miniscope_ros.session.graph import Graph
from miniscope_ros.session.guard import free_bytes
from miniscope_ros.session.notes import session_data
from miniscope_ros.session.recording import (
    check_start,
    Plan,
    Recording,
    RecordingState,
    Status,
)
from miniscope_ros.session.scope_link import ScopeLink
from miniscope_ros.session.session_file import folder_name, SessionFile, unused
from miniscope_ros.session.snapshot import as_json, catalogue_entries, versions
from miniscope_ros.session.trigger import Trigger
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String
from std_srvs.srv import Trigger as TriggerService
import yaml

_log = logging.getLogger('miniscope_ros.session')

_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_NOTES = QoSProfile(
    depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE)
_IDLE_S = 0.1
_ROOM_S = 2.0  # between two looks at the room on the disk while nothing is recorded
_ROOM_CHANGE = 1e7  # [bytes] a smaller change of the room is not reported
_ANSWER_S = 120.0


class _Request(NamedTuple):
    """A recording that was asked for, and who waits for its start."""

    name: str
    notes: str
    session: Mapping[str, Any]  # of the file, and what the notes say instead
    plan: Plan
    begun: Event
    stop: Event


class SessionNode(Node):  # type: ignore[misc]
    """Its services; run() does the recording, in the thread that calls it."""

    def __init__(self, session: SessionFile, stop: Event, name: str = 'session',
                 **options: Any) -> None:
        """Make the node; stop is set when the program is to end."""
        # It has no parameters to set, and rclpy leaves malformed requests unanswered.
        super().__init__(name, start_parameter_services=False, **options)
        self._session = session
        self._stop = stop
        self._lock = Lock()
        self._current: _Request | None = None
        self._requests: SimpleQueue[_Request] = SimpleQueue()
        self._ended = Event()
        self.status = Status()
        self.has_failed = False
        group = ReentrantCallbackGroup()  # stop has to be served while start waits
        self._status = self.create_publisher(RecordingStatus, '~/status', _LATCHED)
        self._metadata = self.create_publisher(String, '~/metadata', _LATCHED)
        self._notes = self.create_publisher(Note, '~/notes', _NOTES)
        self.create_subscription(String, '~/note', self._take_note, 10, callback_group=group)
        self.create_service(StartRecording, '~/start', self._on_start, callback_group=group)
        self.create_service(TriggerService, '~/stop', self._on_stop, callback_group=group)
        self._own_topics = tuple(
            f'{self.get_fully_qualified_name()}/{topic}'
            for topic in ('metadata', 'notes', 'status'))
        self._room_at = -_ROOM_S  # monotonic [s]
        self._publish(self.status)
        self._report_room()
        self._publish_metadata({})

    # What others ask, in threads of the executor

    def _on_start(self, request: StartRecording.Request, response: StartRecording.Response
                  ) -> StartRecording.Response:
        try:
            asked = self.ask(request.name, request.notes)
        except MiniscopeError as error:
            response.message = str(error)
            return response
        asked.begun.wait(_ANSWER_S)
        status = self.status
        response.folder = str(asked.plan.folder)
        response.success = status.state in (
            RecordingState.RECORDING, RecordingState.WAITING_FOR_TRIGGER)
        response.message = status.message
        return response

    def _on_stop(self, request: TriggerService.Request, response: TriggerService.Response
                 ) -> TriggerService.Response:
        with self._lock:
            current = self._current
        if current is None:
            response.message = 'nothing is being recorded'
            return response
        current.stop.set()
        self._ended.wait(_ANSWER_S)
        response.success = self.status.state == RecordingState.IDLE
        response.message = f'{self.status.folder}: {self.status.message}'
        return response

    def _take_note(self, text: String) -> None:
        note = Note(text=text.data)
        note.header.stamp = self.get_clock().now().to_msg()
        self._notes.publish(note)

    def ask(self, name: str = '', notes: str = '', *, again: bool = False) -> _Request:
        """
        Have run() begin a recording. Raises MiniscopeError where that is not possible.

        Notes that are a YAML mapping replace values of the section `session` for this recording:
        in its folder's name, its metadata and its session.yaml. again: the trigger asks for the
        next one; where its folder exists already the name gets a number.
        """
        session = {**self._session.session, **session_data(notes)}
        folder = folder_name(self._session.record, session, name, datetime.now())
        plan = Plan(
            unused(folder) if again else folder, self._session.record,
            (*self._own_topics, *self._session.also,
             *(topic for camera in self._session.cameras if not camera.is_ours
               for topic in camera.own_topics)))
        with self._lock:
            if self._current is not None:
                raise Interrupted(
                    f'{self._current.plan.folder} is being recorded: stop it first')
            check_start(plan)
            self._current = _Request(name, notes, session, plan, Event(), Event())
            self._ended.clear()
            self._requests.put(self._current)
            return self._current

    # Recordings, in the thread that runs them

    def run(self, graph: Graph, *, once: bool = False, ends_with_scopes: bool = False,
            returns_s: float = 0.0, is_well: Callable[[], None] = lambda: None) -> None:
        """
        Record what is asked for until the program is to end.

        once: end after the first recording. returns_s: how long a scope that has ended may take
        to be started again [s]. is_well is called while nothing is recorded; it raises
        MiniscopeError to end the program.
        """
        links = [ScopeLink(graph, device) for device in self._session.devices
                 if device.is_ours]
        while not graph.stop.is_set():
            try:
                request = self._requests.get(timeout=_IDLE_S)
            except Empty:
                is_well()
                self._report_room()
                continue
            try:
                again = self._record(
                    graph, links, request, ends_with_scopes, returns_s)
            finally:
                with self._lock:
                    self._current = None
                request.begun.set()
                self._ended.set()
            if again and not graph.stop.is_set():
                self._ask_again(request)
            elif once:
                return

    def _record(self, graph: Graph, links: list[ScopeLink], request: _Request,
                ends_with_scopes: bool, returns_s: float) -> bool:
        """Record; return whether the next one is to wait for its trigger."""
        try:
            parameters = self._look_at(graph, links)
        except MiniscopeError as error:
            self._publish(Status(RecordingState.FAILED, str(request.plan.folder),
                                 message=str(error)))
            _log.error('NOT RECORDED: %s', error)
            self.has_failed = True
            return False
        trigger = _trigger(links, parameters)
        facts = {'versions': versions(), 'parameters': parameters,
                 'catalogue': catalogue_entries(parameters.values())}
        told: dict[str, Any] = {'session': request.session} if request.session else {}
        if request.notes:
            told['recording_notes'] = request.notes
        self._publish_metadata({**facts, **told})
        plan = replace(
            request.plan, documents=self._documents(request.session), facts=facts, trigger=trigger,
            ends_with_scopes=ends_with_scopes, returns_s=returns_s)
        recording = Recording(plan, graph, links, request.stop, self._publish)

        def begin() -> None:
            if request.notes and self.status.state == RecordingState.RECORDING:
                self._take_note(String(data=request.notes))
            request.begun.set()

        status = recording.run(begin)
        failed = status.state == RecordingState.FAILED
        self.has_failed |= failed
        return trigger is not None and not failed and not request.stop.is_set()

    def _look_at(self, graph: Graph, links: list[ScopeLink]) -> dict[str, dict[str, Any]]:
        for link in links:
            link.await_node()
        for name in graph.namesakes([link.name for link in links]):
            _log.warning('two nodes have the name %s: end one of them, or give it another name',
                         name)
        return {link.name: link.parameters() for link in links}

    def _ask_again(self, request: _Request) -> None:
        try:
            self.ask('', request.notes, again=True)
        except MiniscopeError as error:
            _log.error('NOT RECORDED: %s', error)
            self.has_failed = True

    def _documents(self, session: Mapping[str, Any]) -> dict[str, str]:
        content = {**self._session.content, **({'session': session} if session else {})}
        if not content:
            return {}
        return {'session.yaml': yaml.safe_dump(
            as_json(content), sort_keys=False, allow_unicode=True)}

    # What it reports

    def _report_room(self) -> None:
        """Report the room on the disk that the next recording would find, where it has changed."""
        now = time.monotonic()
        if now - self._room_at < _ROOM_S:
            return
        self._room_at = now
        folder = folder_name(self._session.record, self._session.session, '', datetime.now())
        with contextlib.suppress(DeviceError):  # a start says why the disk cannot be asked
            free = free_bytes(folder)
            if abs(free - self.status.free_bytes) >= _ROOM_CHANGE:
                self._publish(replace(self.status, free_bytes=free))

    def _publish(self, status: Status) -> None:
        self.status = status
        topics = sorted({*status.published, *status.recorded})
        message = RecordingStatus(
            state=int(status.state), folder=status.folder, duration_s=status.duration_s,
            bytes=status.bytes, free_bytes=status.free_bytes, bytes_per_s=status.bytes_per_s,
            seconds_left=status.seconds_left, topics=topics,
            published=[status.published.get(topic, 0) for topic in topics],
            recorded=[status.recorded.get(topic, 0) for topic in topics]
            if status.recorded else [], message=status.message)
        message.header.stamp = self.get_clock().now().to_msg()
        self._status.publish(message)

    def _publish_metadata(self, facts: dict[str, Any]) -> None:
        content = {**self._session.content, **facts}
        self._metadata.publish(String(data=json.dumps(as_json(content), ensure_ascii=False)))


def _trigger(links: list[ScopeLink], parameters: dict[str, dict[str, Any]]) -> Trigger | None:
    """Return the input that starts and stops recordings, if a scope names one."""
    for link in links:
        # What the session file says of the trigger holds for a scope that runs already, too.
        values = {**parameters[link.name], **link.device.parameters}
        number = values.get('trigger.input', -1)
        if values.get('trigger.action') == 'record' and isinstance(number, int) and number >= 0:
            return Trigger(link, number)
    return None
