# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The driver's own source on a virtual box, without ROS, and what the box must have seen."""
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
import contextlib
import math
from threading import Event
from typing import Any

from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.daq.control import Control, LIGHTS
from miniscope_ros.model import (
    ControlEvent,
    RawFrame,
    Reason,
    SourceInfo,
)
from miniscope_ros.sources.registry import make_daq
import numpy as np
from virtual_daq import Box, pacing_violations

FAST = 300.0  # frames/s, for what does not depend on the rate
CATALOGUE = load_catalogue()
CONTROL_ORDER = ('led', 'led2', 'focus', 'gain', 'frame_rate')  # of a frame's record
PATIENCE = 10.0  # [s]


def frame_number(image: np.ndarray) -> int:
    """Return which frame of the box an image is: it is written in its first grey bytes."""
    return int.from_bytes(image.reshape(-1)[:8].tobytes(), 'little')


def packets(*texts: str) -> list[bytes]:
    """Return the packets in texts of one or more lines, separated by commas."""
    return [bytes.fromhex(text) for line in texts for text in line.split(',')]


class BoxScope:
    """A Miniscope on one virtual box, and what it told."""

    def __init__(
            self, box: Box, *, max_led: float = math.inf, transport: str = 'v4l2',
            **values: float) -> None:
        """Make the source, which opens nothing; values differ from the start values."""
        self.box = box
        self.type = CATALOGUE[box.config.device_type]
        self.stop = Event()
        start = {
            name: control.darkest if name in LIGHTS else control.start
            for name, control in self.type.controls.items()}
        self.source = make_daq(
            box.by_path, self.type, self.stop, start | values, max_led, transport=transport)
        self._events: list[ControlEvent] = []
        self._discarded: list[RawFrame] = []

    def _take(self) -> None:
        for event in self.source.take_events():
            if isinstance(event, ControlEvent):
                self._events.append(event)
            elif not event.damaged:
                self._discarded.append(event)

    @property
    def events(self) -> list[ControlEvent]:
        """Return the values that were sent, in order."""
        self._take()
        return self._events

    @property
    def discarded(self) -> list[RawFrame]:
        """Return the good frames that commands discarded, in order."""
        self._take()
        return self._discarded

    def open(self, reason: Reason = Reason.START) -> SourceInfo:
        """Open and set up."""
        return self.source.open(reason)

    def read(self) -> RawFrame:
        """Return the next frame, which must come."""
        for _ in range(20):
            sample = self.source.read(0.5)
            if sample is not None:
                return sample
        raise AssertionError('no frame')

    def pass_frames(self, count: int) -> list[int]:
        """Read so many frames and return their numbers."""
        return [frame_number(self.read().image) for _ in range(count)]

    def run_pending(self) -> None:
        """Read until the box has executed what was set."""
        self.read()
        self.pass_frames(2)
        self.box.wait(lambda: not self.box.state['queued'], PATIENCE)

    def control(self, name: str) -> Control:
        """Return one of the type's controls."""
        return self.type.controls[name]

    def record(self, frame: int) -> np.void:
        """Return the box's record of a frame."""
        records = self.box.frames
        return records[records['frame'] == frame][0]

    def lit_under(self, frame: int, name: str = 'led') -> tuple[int, int]:
        """Return the raw values under which a frame's exposure began and ended."""
        record = self.record(frame)
        place = CONTROL_ORDER.index(name)
        return int(record['raw_start'][place]), int(record['raw_end'][place])

    def assert_in_order(self) -> None:
        """Check that the box has nothing to complain about."""
        assert self.box.protocol_faults == []
        assert pacing_violations(self.box.writes) == []
        assert self.box.state['queued_most'] <= 64


@contextlib.contextmanager
def scope(box: Box, **options: Any) -> Iterator[BoxScope]:
    """Make a scope on a box and close it at the end; the protocol must have been kept."""
    made = BoxScope(box, **options)
    try:
        yield made
    finally:
        made.source.close()
    made.assert_in_order()
    assert not box.busy


def values_to_try(control: Control) -> Iterable[float]:
    """Return all choices of a control, or the ends and the middle of its range."""
    if control.choices is not None:
        return sorted(control.choices)
    return control.minimum, (control.minimum + control.maximum) / 2, control.maximum


def open_all(scopes: Iterable[BoxScope]) -> None:
    """Open scopes side by side: each spends its time waiting."""
    scopes = list(scopes)
    with ThreadPoolExecutor(len(scopes)) as pool:
        list(pool.map(BoxScope.open, scopes))
