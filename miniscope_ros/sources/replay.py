# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A recording as a source: its frames come at their recorded times."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
import logging
from threading import Condition, Event, Thread
import time
from typing import Literal

from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.errors import DeviceError, EndOfData, Interrupted
from miniscope_ros.model import (
    ControlEvent,
    RawFrame,
    Reason,
    SourceEvent,
    SourceInfo,
    StampSource,
)
from miniscope_ros.recordings.formats import open_recording
from miniscope_ros.recordings.recording import RecordedChange, RecordedFrame, Recording
from miniscope_ros.sources.background import interruptibly
from miniscope_ros.sources.uncontrolled import UncontrolledSource

Stamps = Literal['now', 'original']

_log = logging.getLogger(__name__)

_AHEAD = 8  # frames that are decoded before they are due
_LONG_WAIT_S = 5.0
"""A gap in the recording that is waited for longer than this is reported."""

_SLICE = 0.05  # [s] between looks at the stop event while a frame is being decoded
_CLOSE_PATIENCE_S = 1.0  # for a file that is being read; its thread is left alone after that


class ReplaySource(UncontrolledSource):
    """
    Plays a recording; see Source.

    Stamps are on the recorded timeline, shifted so that the first frame comes one median interval
    after zero; when looping, the first frame of a turn comes one after the last of the turn
    before. Every activation plays from the beginning.
    """

    is_live = False
    has_constant_rate = True  # unless the frames of the recording have numbers

    def __init__(self, path: str, *, rate: float, loop: bool, stamps: Stamps,
                 stop: Event | None = None) -> None:
        """
        Name the recording and how to play it; opens nothing.

        rate is the factor by which it is played faster than it was recorded; stamps says whether
        the ROS time of a frame is that of playing (now) or of recording (original). When stop is
        set, opening and reading give up with Interrupted.
        """
        super().__init__()
        self._path = path
        self._rate = rate
        self._loop = loop
        self._stamps = stamps
        self._stop = stop or Event()
        self._events: list[SourceEvent] = []
        self._ended = False
        self._recording: Recording | None = None
        self._decoder: _Decoder | None = None
        self._first_ns = 0  # recorded time of the first frame
        self._start_ns: int | None = None  # CLOCK_MONOTONIC when the first frame was due
        self._reported_ns: int | None = None  # recorded time of the frame whose wait was reported

    def open(self, reason: Reason) -> SourceInfo:
        """Open the recording; DeviceError if it cannot be played in the way asked for."""
        self.close()
        try:
            recording = interruptibly(lambda: open_recording(self._path), self._stop)
        except DeviceError as error:
            raise type(error)(f'replay.path {self._path}: {error}') from error
        if self._stamps == 'original' and recording.start_epoch_ns is None:
            raise DeviceError(f'{recording.path} does not say when it was recorded, so there are '
                              'no original stamps: set replay.stamps to now')
        self._recording = recording
        self.has_constant_rate = not recording.has_frame_numbers
        return SourceInfo(
            **recording.format._asdict(),
            device_type=recording.device_type, has_orientation=recording.has_orientation,
            frame_rate=recording.frame_rate, period_ns=recording.interval_ns,
            card=f'{recording.format_name} recording', path=recording.path, transport='replay',
            has_blocks=_came_in_blocks(recording),
            warnings=tuple(recording.warnings))

    def activate(self, reason: Reason) -> None:
        """Begin to decode; time runs from the first read on."""
        if self._recording is None:
            raise DeviceError(f'{self._path} is not open')
        self.deactivate()
        self._decoder = _Decoder(self._turns(self._recording))

    def read(self, timeout: float) -> RawFrame | None:
        """Return the next frame once it is due; None after timeout [s]; EndOfData."""
        deadline = time.monotonic() + timeout
        recording, decoder = self._recording, self._decoder
        if recording is None or decoder is None:
            time.sleep(timeout)
            return None
        while (frame := self._head(recording, decoder, min(_SLICE, timeout))) is None:
            if time.monotonic() >= deadline:
                return None
        if self._start_ns is None:
            self._first_ns = frame.time_ns
            self._start_ns = time.monotonic_ns()
        wait = self._until_due(frame)
        if wait > _LONG_WAIT_S and self._reported_ns != frame.time_ns:
            self._reported_ns = frame.time_ns
            _log.warning('the recording has a gap: its next frame comes in %.0f s', wait)
        time.sleep(max(0.0, min(wait, deadline - time.monotonic())))
        if self._until_due(frame) > 0:
            return None
        decoder.take()
        self._events += [self._event(recording, change) for change in frame.changes]
        return RawFrame(
            image=frame.image,
            stamp_ns=frame.time_ns - self._first_ns + recording.interval_ns,
            stamp_source=StampSource.RECORDED,
            receive_ns=time.monotonic_ns(),
            sequence=frame.number,
            device_count=frame.device_count,
            device_count_bits=recording.device_count_bits,
            orientation=frame.orientation,
            digital_inputs=frame.digital_inputs,
            sync_edge=frame.sync_edge,
            content=frame.content)

    def take_events(self) -> Sequence[SourceEvent]:
        """Return the control values that were sent while recording up to the last frame read."""
        events, self._events = self._events, []
        return events

    def waiting(self) -> bool:
        """Return whether the next frame is due already."""
        frame = self._decoder.ready if self._decoder else None
        return frame is not None and (self._start_ns is None or self._until_due(frame) <= 0)

    def deactivate(self) -> None:
        """Stop playing."""
        if self._decoder is not None:
            self._decoder.close()
        self._decoder = None
        self._start_ns = None
        self._ended = False

    def close(self) -> None:
        """Stop playing and forget the recording."""
        self.deactivate()
        self._recording = None

    def ros_time_ns(self, sample: RawFrame, at: Callable[[int], int]) -> int:
        """Return when the frame was due or was recorded, as stamps says; see Source."""
        assert self._recording is not None and self._start_ns is not None
        since_first_ns = sample.stamp_ns - self._recording.interval_ns
        if self._stamps == 'now':
            return at(self._start_ns + round(since_first_ns / self._rate))
        start_epoch_ns = self._recording.start_epoch_ns
        assert start_epoch_ns is not None  # open refuses such a recording
        return start_epoch_ns + self._first_ns + since_first_ns

    def _head(self, recording: Recording, decoder: _Decoder, timeout: float,
              ) -> RecordedFrame | None:
        """Return the next frame; None after timeout [s]; see read."""
        if self._stop.is_set():
            raise Interrupted('the program is to end')
        try:
            return decoder.head(timeout)
        except EndOfData:
            if not self._ended and self._start_ns is not None:
                self._ended = True
                self._events += [self._event(recording, change) for change in recording.stops]
            raise

    def _event(self, recording: Recording, change: RecordedChange) -> ControlEvent:
        """Return a recorded change as one of now."""
        assert self._start_ns is not None
        since_first_ns = max(change.time_ns - self._first_ns, 0)
        original_ns = None
        if self._stamps == 'original' and recording.start_epoch_ns is not None:
            original_ns = recording.start_epoch_ns + change.time_ns
        return ControlEvent(
            control=change.control, value=change.value, raw=change.raw, reason=change.reason,
            sent_ns=self._start_ns + round(since_first_ns / self._rate),
            first_capture_index=change.first_capture_index, stamp_ns=original_ns)

    def _until_due(self, frame: RecordedFrame) -> float:
        """Return the time until a frame is due [s]."""
        assert self._start_ns is not None
        due_ns = self._start_ns + (frame.time_ns - self._first_ns) / self._rate
        return (due_ns - time.monotonic_ns()) / 1e9

    def _turns(self, recording: Recording) -> Generator[RecordedFrame, None, None]:
        """Yield the recording once or again and again, times and counters rising throughout."""
        offset_ns = offset_count = offset_number = offset_edge = 0
        while True:
            told = len(recording.warnings)
            first = last = None
            with closing(recording.frames()) as frames:
                for last in frames:
                    first = first or last
                    count = last.device_count
                    if count is not None:
                        count = (count + offset_count) % (1 << recording.device_count_bits)
                    number = None if last.number is None else last.number + offset_number
                    edge = None if last.sync_edge is None else last.sync_edge + offset_edge
                    yield replace(last, time_ns=last.time_ns + offset_ns, device_count=count,
                                  number=number, sync_edge=edge, changes=tuple(
                                      _later(change, offset_ns, offset_number)
                                      for change in last.changes))
            for warning in recording.warnings[told:]:
                _log.warning(warning)
            if not self._loop or first is None or last is None:
                return
            offset_ns += last.time_ns - first.time_ns + recording.interval_ns
            offset_count += (last.device_count or 0) - (first.device_count or 0) + 1
            offset_number += (last.number or 0) - (first.number or 0) + 1
            offset_edge += (last.sync_edge or 0) - (first.sync_edge or 0) + 1


def _came_in_blocks(recording: Recording) -> bool:
    """Return whether a DAQ box sent the frames: a known type of scope took them, whole."""
    device_type = load_catalogue().get(recording.device_type)
    return device_type is not None and recording.format == (
        device_type.width, device_type.height, 'mono8')


def _later(change: RecordedChange, offset_ns: int, offset_number: int) -> RecordedChange:
    """Return a change as one of a later turn."""
    index = change.first_capture_index
    return change._replace(
        time_ns=change.time_ns + offset_ns,
        first_capture_index=index if index < 0 else index + offset_number)


class _Decoder:
    """Decodes a few frames ahead in a thread, so that decoding does not make frames late."""

    def __init__(self, frames: Generator[RecordedFrame, None, None]) -> None:
        self._source = frames
        self._frames: deque[RecordedFrame] = deque()
        self._end: Exception | None = None
        self._closing = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, name='replay-decoder', daemon=True)
        self._thread.start()

    @property
    def ready(self) -> RecordedFrame | None:
        """Return the next frame; None while it is being decoded and after the last."""
        with self._changed:
            return self._frames[0] if self._frames else None

    def head(self, timeout: float) -> RecordedFrame | None:
        """Return the next frame and keep it; None after timeout [s]; what ended the decoding."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._end, timeout)
            if self._frames:
                return self._frames[0]
            if self._end is not None:
                raise self._end
            return None

    def take(self) -> None:
        """Remove the frame that head() returns."""
        with self._changed:
            self._frames.popleft()
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_PATIENCE_S)

    def _run(self) -> None:
        end: Exception = EndOfData('the recording has been played to its end')
        try:
            with closing(self._source):
                for frame in self._source:
                    if not self._put(frame):
                        return
        except Exception as error:  # raised again in the thread that reads
            end = error
        with self._changed:
            self._end = end
            self._changed.notify_all()

    def _put(self, frame: RecordedFrame) -> bool:
        """Wait for room and add a frame; False if the decoder is being closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or len(self._frames) < _AHEAD)
            self._frames.append(frame)
            self._changed.notify_all()
            return not self._closing
