# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
One recording, from its start to its certificate.

    STARTING -> WAITING_FOR_TRIGGER -> RECORDING -> STOPPING -> IDLE
    any of them -> STOPPING -> FAILED

Start: all scopes configured, the recorder matched to every topic, all scopes activated together.
End: light dark, last messages, recorder. On an error the light comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import contextlib
from dataclasses import dataclass, field
from enum import IntEnum
import logging
import math
from pathlib import Path
from threading import Event
import time
from typing import Any

from miniscope_ros.errors import ConfigurationError, DeviceError, Interrupted, MiniscopeError
from miniscope_ros.recordings import certificate
from miniscope_ros.session.graph import Graph
from miniscope_ros.session.guard import check_room, free_bytes, Guard, Progress
from miniscope_ros.session.recorder import choose_recorder, Recorder
from miniscope_ros.session.scope_link import change_all, darken_all, ScopeLink
from miniscope_ros.session.session_file import RecordSettings
from miniscope_ros.session.topics import (
    DISPLAY_TOPICS,
    GENERAL,
    ORIENTATION_TOPICS,
    TOPICS,
)
from miniscope_ros.session.trigger import Trigger
from miniscope_ros.session.verdict import (
    by_books,
    by_reading,
    missing_frames,
    Recorded,
    topic_table,
)

_log = logging.getLogger('miniscope_ros.session')

_STEP_S = 0.05  # time between two looks at what the scopes publish
_GUARD_S = 0.25  # time between two looks of the guard
_LISTENS_S = 20.0  # time that the recorder gets to subscribe to all topics
_KNOWN_S = 5.0  # time that a scope gets to report the level of the trigger
_DARK_S = 6.0  # time that the scopes get to go dark after an error; a node promises 4 s
_DARK_AT_END_S = 8.0  # the same at an orderly end, where the last frame is published first
_TAKEN_S = 0.5  # time that a recorder without reports gets to take what has arrived
_GONE_S = 2.0  # a node that ended with Ctrl-C may be gone before this program receives it


class RecordingState(IntEnum):
    """The numbers are those of RecordingStatus.msg."""

    IDLE = 0
    WAITING_FOR_TRIGGER = 1
    STARTING = 2
    RECORDING = 3
    STOPPING = 4
    FAILED = 5


@dataclass(frozen=True)
class Plan:
    """What is to be recorded, and how it is to end."""

    folder: Path
    settings: RecordSettings
    topics: tuple[str, ...] = ()  # besides those of the scopes
    documents: Mapping[str, str] = field(default_factory=dict)  # files for the bag's folder
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the certificate
    trigger: Trigger | None = None
    ends_with_scopes: bool = False  # a scope that ends is no error, and ends the recording
    returns_s: float = 0.0  # a scope that has ended may take so long to be started again


@dataclass
class Status:
    """The progress of a recording. It is replaced as a whole, so any thread may read it."""

    state: RecordingState = RecordingState.IDLE
    folder: str = ''
    duration_s: float = 0.0
    bytes: int = 0
    free_bytes: int = 0
    bytes_per_s: float = math.nan
    seconds_left: float = math.nan
    published: Mapping[str, int] = field(default_factory=dict)
    recorded: Mapping[str, int] = field(default_factory=dict)
    message: str = ''


def check_start(plan: Plan) -> None:
    """Raise ConfigurationError or DeviceError where a recording must not be started."""
    if plan.folder.exists():
        raise ConfigurationError(f'{plan.folder} exists already: name a folder that does not')
    check_room(plan.folder, plan.settings.min_free_gb)
    choose_recorder(plan.settings)


class Recording:
    """Runs in one thread, which is the one that uses the graph; see run()."""

    def __init__(
        self, plan: Plan, graph: Graph, links: Sequence[ScopeLink], stop: Event,
        on_status: Callable[[Status], None],
    ) -> None:
        """Plan a recording; stop ends it, and the graph's stop ends the program."""
        self._plan = plan
        self._graph = graph
        self._links = links
        for link in links:
            link.forget()
        self._stop = stop
        self._on_status = on_status
        self._recorder: Recorder | None = None
        self._guard = Guard(plan.folder, plan.settings.stop_free_gb,
                            compressed=plan.settings.storage.startswith('zstd'))
        self._begun = math.nan  # monotonic [s]
        self._began_ns = 0
        self._guarded = 0.0
        self._warnings: list[str] = []
        self._gone: set[ScopeLink] = set()
        self._gone_since = math.inf
        self._reason = ''  # why it ended
        self._skew: dict[str, float] = {}
        self.status = Status(folder=str(plan.folder))

    # The whole

    def run(self, on_begun: Callable[[], None] = lambda: None) -> Status:
        """Record; return the last status, IDLE or FAILED."""
        error: MiniscopeError | None = None
        try:
            self._prepare()
            self._await_trigger(on_begun)
            self._activate()
            on_begun()
            self._watch()
        except Interrupted:
            self._reason = self._reason or 'it was stopped before it had begun'
        except MiniscopeError as raised:
            error = raised
        except OSError as raised:
            error = DeviceError(str(raised))
        except Exception as raised:  # any error: the light goes dark and the recording is closed
            _log.exception('the session met an error')
            error = DeviceError(f'{type(raised).__name__}: {raised}')
        return self._close(error)

    def _say(self, state: RecordingState, message: str = '') -> None:
        recorder = self._recorder
        books = recorder.books if recorder is not None else None
        published: dict[str, int] = {}
        for link in self._links:
            for name in ('image_raw', 'camera_info', 'frame_info'):
                published[f'{link.name}/{name}'] = link.published.frames
        recorded = dict(books.recorded) if books is not None else {}
        for topic, count in recorded.items():
            assert books is not None
            published.setdefault(
                topic, count - books.repeated.get(topic, 0) + books.lost.get(topic, 0))
        self.status = Status(
            state, str(self._plan.folder),
            0.0 if math.isnan(self._begun) else time.monotonic() - self._begun,
            recorder.bytes() if recorder is not None else 0, self._guard.free,
            self._guard.bytes_per_s, self._guard.seconds_left, published, recorded,
            message or '; '.join(self._warnings))
        self._on_status(self.status)

    def _warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.append(text)
            _log.warning('%s', text)

    # Start

    def _prepare(self) -> None:
        plan = self._plan
        check_start(plan)
        self._guard.free = free_bytes(plan.folder)
        self._say(RecordingState.STARTING)
        for link in self._links:
            link.await_node()
        states = {link.name: link.state() for link in self._links}
        for link in self._links:
            link.was_active = states[link.name] == 'active'
        change_all(self._graph, [link for link in self._links
                                 if states[link.name] == 'unconfigured'], 'configure')
        if plan.settings.restart:
            change_all(self._graph, [link for link in self._links if link.was_active],
                       'deactivate')
            for link in self._links:
                link.update()
        plan.folder.parent.mkdir(parents=True, exist_ok=True)
        optional = [f'{link.name}/{topic}' for link in self._links for topic in
                    ORIENTATION_TOPICS]
        required = [f'{link.name}/{topic}' for link in self._links for topic in
                    TOPICS + (DISPLAY_TOPICS if plan.settings.display else ())]
        optional += [*GENERAL, *plan.topics]
        self.topics = list(dict.fromkeys([*required, *optional]))
        self._recorder = recorder = Recorder(plan.folder, self.topics, plan.settings)

        def listens() -> bool:
            recorder.check()
            present = required + [
                topic for topic in optional if self._graph.has_publisher(topic)]
            return all(self._graph.has_subscriber(topic, recorder.name) for topic in present)

        self._await(listens, _LISTENS_S, 'the recorder does not listen to every topic; the '
                    'scopes were not activated')
        for name, text in plan.documents.items():
            (plan.folder / name).write_text(text, encoding='utf-8')

    def _await(self, condition: Callable[[], bool], patience: float, complaint: str) -> None:
        """Wait as the graph does, and give up when this recording is stopped, too."""
        def is_over() -> bool:
            return self._stop.is_set() or condition()

        self._graph.await_condition(is_over, patience, complaint)
        if self._stop.is_set():
            raise Interrupted('told to end')

    def _await_trigger(self, on_begun: Callable[[], None]) -> None:
        trigger = self._plan.trigger
        if trigger is None:
            return
        self._say(RecordingState.WAITING_FOR_TRIGGER)
        on_begun()
        began = said = time.monotonic()
        while not trigger.is_high():
            if trigger.is_unknown and time.monotonic() - began > _KNOWN_S:
                raise ConfigurationError(trigger.unknown)
            if self._stop.is_set() or self._graph.stop.is_set():
                raise Interrupted('told to end')
            self._recorder_is_well()
            for link in self._links:
                link.update()
            if time.monotonic() - said >= 1.0:
                self._say(RecordingState.WAITING_FOR_TRIGGER)
                said = time.monotonic()
            self._stop.wait(_STEP_S / 10)

    def _activate(self) -> None:
        for link in self._links:
            link.update()
            link.begin_counting(joins=link.was_active and not self._plan.settings.restart)
        waiting = self._links if self._plan.settings.restart else [
            link for link in self._links if not link.was_active]
        with contextlib.suppress(Interrupted):  # they may become active all the same
            change_all(self._graph, waiting, 'activate')
        self._begun = time.monotonic()
        self._began_ns = time.time_ns()
        _log.info('recording %d scopes into %s', len(self._links), self._plan.folder)
        silent = [topic for topic in self._plan.topics if not self._graph.has_publisher(topic)]
        if silent:
            self._warn(f'nobody publishes {", ".join(silent)} yet')
        self._say(RecordingState.RECORDING)

    def _measure_skew(self) -> None:
        """Tell once how far apart the first frames of the scopes are."""
        first = {link.name: link.published.first_stamp_ns for link in self._links}
        periods = [link.published.period_ns for link in self._links]
        if self._skew or len(first) < 2 or not all(first.values()) or not all(periods):
            return
        begin = min(first.values())
        self._skew = {name: (stamp - begin) / 1e6 for name, stamp in first.items()}
        widest, period = max(self._skew.values()), max(periods) / 1e6
        text = ', '.join(f'{name} +{skew:.1f} ms' for name, skew in self._skew.items())
        if widest > period and self._plan.settings.restart:
            self._warn(f'the first frames are more than a period ({period:.1f} ms) apart: {text}')
        else:
            _log.info('first frames: %s; a period is %.1f ms', text, period)

    # While it runs

    def _watch(self) -> None:
        plan = self._plan
        end = self._begun + plan.settings.duration_minutes * 60 \
            if plan.settings.duration_minutes else math.inf
        said = time.monotonic()
        while not self._reason:
            self._stop.wait(_STEP_S)
            for link in self._links:
                link.update()
            now = time.monotonic()
            if now - self._guarded >= _GUARD_S:
                self._guarded = now
                self._observe(now)
            self._measure_skew()
            if self._graph.stop.is_set():
                self._reason = 'the program was asked to end'
            elif self._stop.is_set():
                self._reason = 'it was stopped'
            elif now >= end:
                self._reason = f'its {plan.settings.duration_minutes:g} minutes are over'
            elif self._links and all(link.has_played for link in self._links):
                self._reason = 'what was replayed has come to its end'
            elif plan.trigger is not None and plan.trigger.is_low():
                self._reason = 'its trigger went low'
            elif self._guard.disk_is_full:
                self._reason = (f'only {self._guard.free / 1e9:.2f} GB are free, and stop_free_gb '
                                f'is {plan.settings.stop_free_gb:g}')
                _log.error('the recording ends: %s', self._reason)
            if now - said >= 1.0:
                said = now
                self._say(RecordingState.RECORDING)

    def _observe(self, now: float) -> None:
        self._recorder_is_well()
        assert self._recorder is not None
        # Only frames that were received here: the recorder can have received those, too.
        frames = {link: link.published.runs.count for link in self._links}
        self._guard.observe(Progress(
            now, self._recorder.bytes(), sum(frames.values()),
            sum(count * link.frame_bytes for link, count in frames.items())))
        books = self._recorder.books
        if books is not None:
            for topic, lost in books.lost.items():
                if lost and any(topic == f'{link.name}/{name}' for link in self._links
                                for name in ('image_raw', 'frame_info', 'camera_info')):
                    self._warn(f'MESSAGES ARE BEING LOST: {topic}')
        self._look_for_scopes(now)

    def _recorder_is_well(self) -> None:
        assert self._recorder is not None
        self._recorder.check()

    def _look_for_scopes(self, now: float) -> None:
        gone = [link for link in self._links if not link.is_there]
        if not self._gone <= set(gone):
            self._guard.begin_anew()
        self._gone = set(gone)
        for link in self._links:
            if link.has_ended and link not in gone:
                self._warn(f'{link.name} HAS ENDED during the recording, and was started again')
        if not gone:
            self._gone_since = math.inf
            return
        self._gone_since = min(self._gone_since, now)
        for link in gone:
            link.has_ended = True
        if self._plan.ends_with_scopes:
            if len(gone) == len(self._links) and now - self._gone_since >= self._plan.returns_s:
                self._reason = 'the scopes have ended'
        elif now - self._gone_since > _GONE_S:
            for link in gone:
                self._warn(f'{link.name} HAS ENDED during the recording')
            if len(gone) == len(self._links):
                raise DeviceError('; '.join(self._warnings))

    # End

    def _close(self, error: MiniscopeError | None) -> Status:
        if error is not None:
            _log.error('NOT RECORDED: %s', error)
        self._say(RecordingState.STOPPING, str(error or ''))
        try:
            error = self._go_dark(error)
            error = self._stop_recorder(error)
            if self._recorder is not None and self._plan.folder.is_dir():
                error = self._certify(error)
            if error is None and not self._graph.stop.is_set() and self._plan.settings.restart:
                self._reactivate()
        except (MiniscopeError, OSError) as raised:
            error = error or DeviceError(str(raised))
        if error is None:
            self._say(RecordingState.IDLE, self._reason)
            _log.info('the recording has ended, as %s: %s', self._reason, self._plan.folder)
        else:
            _log.error('THE RECORDING HAS FAILED: %s', error)
            self._say(RecordingState.FAILED, str(error))
        return self.status

    def _go_dark(self, error: MiniscopeError | None) -> MiniscopeError | None:
        joined = not self._plan.settings.restart and error is None
        links = [link for link in self._links if not (joined and link.was_active)]
        if links:
            lit = darken_all(self._graph, links, _DARK_S if error else _DARK_AT_END_S)
            if lit:
                text = f'THE LIGHT MAY STILL BE ON: {", ".join(lit)} does not answer'
                _log.error('%s', text)
                error = DeviceError(f'{error}; {text}' if error else text)
        for link in self._links:
            link.update()
            if link not in links:  # it goes on: what follows does not count
                link.end_counting()
        return error

    def _stop_recorder(self, error: MiniscopeError | None) -> MiniscopeError | None:
        if self._recorder is None:
            return error
        if error is None:
            self._await_last_messages(self._recorder)
        for link in self._links:
            link.update()
            link.end_counting()
        try:
            self._recorder.stop()
        except DeviceError as raised:
            if error is None:
                _log.error('NOT RECORDED: %s', raised)
            return error or raised
        return error

    def _await_last_messages(self, recorder: Recorder) -> None:
        def has_all() -> bool:
            for link in self._links:
                link.update()
            books = recorder.books
            return books is not None and all(
                _last(books.runs.get(f'{link.name}/frame_info')) == _end(link)
                for link in self._links)

        self._graph.pass_time(has_all, _TAKEN_S)

    def _certify(self, error: MiniscopeError | None) -> MiniscopeError | None:
        assert self._recorder is not None
        books = self._recorder.books
        contents = None
        if books is not None and books.closed:
            recorded = by_books(books)
        else:
            contents = certificate.Contents(self._plan.folder)
            recorded = by_reading(contents, books)
        problems = list(contents.problems) if contents is not None else []
        for link in self._links:
            problems += missing_frames(
                link.name, link.published, recorded,
                whole=not link.has_ended and (
                    self._plan.settings.restart or not link.was_active))
        if problems and error is None:
            error = DeviceError('; '.join(problems))
        verdict = 'failed' if error is not None else 'complete'
        if verdict == 'complete' and (math.isnan(self._begun) or any(
                'HAS ENDED' in text for text in self._warnings)):
            verdict = 'incomplete'
        certificate.write(
            self._plan.folder,
            self._certificate(
                verdict, str(error) if error is not None else '; '.join(self._warnings)
                if verdict == 'incomplete' and self._warnings else self._reason,
                problems, recorded),
            books.sha256 if books is not None else {})
        return error

    def _certificate(
            self, verdict: str, reason: str, problems: Sequence[str], recorded: Recorded,
    ) -> dict[str, Any]:
        assert self._recorder is not None
        scopes = {link.name: link.published for link in self._links}
        return {
            'verdict': verdict, 'reason': reason, 'problems': list(problems),
            'warnings': self._warnings, 'recorder': self._recorder.kind,
            'counted_by': recorded.counted_by, 'began_ns': self._began_ns,
            'ended_ns': time.time_ns(), 'restart': self._plan.settings.restart,
            'trigger': self._plan.trigger.as_dict() if self._plan.trigger else None,
            'scopes': {name: published.as_dict() | {
                'first_frame_after_the_earliest_ms': self._skew.get(name)}
                for name, published in scopes.items()},
            'topics': topic_table(recorded, scopes, self.topics), **self._plan.facts}

    def _reactivate(self) -> None:
        """Activate the scopes that were active before the recording."""
        change_all(self._graph, [link for link in self._links if link.was_active and
                                 link.is_there], 'activate')


def _last(runs: Sequence[Sequence[int]] | None) -> int | None:
    return runs[-1][1] if runs else None


def _end(link: ScopeLink) -> int | None:
    runs = link.published.runs.runs
    return runs[-1].last if runs else None
