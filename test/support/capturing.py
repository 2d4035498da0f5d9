# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""An acquisition on a virtual DAQ box without ROS, and the truth to hold against its account."""
from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
from dataclasses import dataclass, replace
from itertools import pairwise
import math
from pathlib import Path
from threading import Condition, Event
from typing import Any

from miniscope_ros.acquisition.capture import CaptureEngine
from miniscope_ros.acquisition.events import Change, Status
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.acquisition.orientation import OrientationValidator
from miniscope_ros.acquisition.ros_clock import RosTime
from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.model import Evidence, SourceInfo, StampSource
from miniscope_ros.sources.miniscope import MiniscopeSource
from miniscope_ros.sources.registry import make_daq
import numpy as np
from virtual_daq import Box, BoxConfig, Fault, VirtualDaq
from virtual_daq import Status as Fate

PATIENCE = 40.0  # [s], far more than anything here takes
FAST = 200.0  # frames/s, whatever the scope is set to
DAMAGE = Fault.ERROR_FLAG | Fault.SHORT | Fault.EMPTY | Fault.TRANSFER
BAD_STAMP = Fault.STAMP_ZERO | Fault.STAMP_BACK | Fault.STAMP_FAR | Fault.STAMP_NONE
SENDING = 50_000_000  # [ns], what sending a value takes at most, with the rests it needs
CONTROLS = ('led', 'led2', 'focus', 'gain', 'frame_rate')  # of a frame's record
V4 = load_catalogue()['Miniscope_V4_BNO']
NO_IMAGE = np.empty((0, 0), np.uint8)


@dataclass
class Told:
    """What was told of one frame."""

    frame: Frame  # without its image
    number: int  # which of the box's frames it is, read from its pixels
    stamp_ns: int  # on the monotonic clock
    stamp_source: StampSource


class Ear:
    """Keeps what an acquisition tells."""

    display_skipped = 0

    def __init__(self, *, keep_frames: bool = True) -> None:
        self.frames: list[Told] = []  # of the running acquisition
        self.keep_frames = keep_frames
        self.changes: list[Change] = []
        self.infos: list[SourceInfo] = []
        self.inputs: list[int] = []
        self.rates: list[float] = []
        self.starts = 0
        self.stops = 0
        self.interruptions: list[str] = []
        self.at_frame: Callable[[Frame], None] = lambda frame: None
        self._changed = Condition()

    def on_info(self, info: SourceInfo) -> None:
        with self._changed:
            self.infos.append(info)
            self._changed.notify_all()

    def on_frame(self, frame: Frame) -> None:
        sample = frame.sample
        number = int.from_bytes(sample.image[0, :8].tobytes(), 'little')
        self.at_frame(frame)
        if self.keep_frames:
            with self._changed:
                # The image is valid until the next frame, and one is the memory of a whole stream.
                kept = replace(frame, sample=replace(sample, image=NO_IMAGE))
                self.frames.append(Told(kept, number, sample.stamp_ns, sample.stamp_source))
                self._changed.notify_all()

    def on_change(self, change: Change) -> None:
        with self._changed:
            self.changes.append(change)
            self._changed.notify_all()

    def on_inputs(self, levels: int, stamp_ns: int) -> None:
        self.inputs.append(levels)

    def on_started(self) -> None:
        with self._changed:
            self.frames = []
            self.starts += 1
            self._changed.notify_all()

    def on_sensor_rate(self, rate: float) -> None:
        with self._changed:
            self.rates.append(rate)
            self._changed.notify_all()

    def on_interrupted(self, reason: str) -> None:
        with self._changed:
            self.interruptions.append(reason)
            self._changed.notify_all()

    def on_stopped(self) -> None:
        with self._changed:
            self.stops += 1
            self._changed.notify_all()

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        """Return when the condition holds; it is asked whenever something was told."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), f'it never came about that {what}'

    def wait_frames(self, more: int) -> None:
        """Return when so many more frames were told."""
        with self._changed:
            count = len(self.frames) + more
        self.wait(lambda: len(self.frames) >= count, f'{count} frames came')


class Capture:
    """A box, and the acquisition of which it is the source."""

    def __init__(
        self, rig: VirtualDaq, values: dict[str, float], *, clock: RosTime | None = None,
        ear: Ear | None = None, box: Box | None = None, transport: str = 'v4l2',
    ) -> None:
        """Make the acquisition on a box, the rig's first one; opens nothing."""
        self.rig = rig
        self.box: Box = box or rig.box
        self.stop = Event()
        self.ear = ear or Ear()
        device_type = load_catalogue()[self.box.config.device_type]
        given = {name: control.start for name, control in device_type.controls.items()}
        self.source: MiniscopeSource = make_daq(
            self.box.by_path, device_type, self.stop, {**given, 'led': 20.0, **values},
            transport=transport)
        self.validator = OrientationValidator()
        self.acquisition = CaptureEngine(self.source, self.ear, self.validator, clock=clock)

    @property
    def status(self) -> Status:
        """Return what diagnostics are told."""
        return self.acquisition.status()

    def start(self) -> Capture:
        """Open and activate."""
        self.acquisition.open()
        self.acquisition.activate()
        return self

    def wait_state(self, state: str) -> None:
        """Return when the acquisition is in a state, as diagnostics show it."""
        self.box.wait(lambda: self.status.state == state, PATIENCE)

    def wait_lost(self) -> None:
        """Return when the device is lost and looked for."""
        self.box.wait(lambda: self.status.state.is_disconnected, PATIENCE)

    def wait_back(self) -> None:
        """Return when frames come again after an outage that has begun."""
        before = self.status.reconnects
        self.wait_lost()
        self.box.wait(lambda: self.status.reconnects > before, PATIENCE)
        self.ear.wait_frames(2)


@contextlib.contextmanager
def capture(
    folder: Path, values: dict[str, float] | None = None, *, clock: RosTime | None = None,
    transport: str = 'v4l2', **config: Any,
) -> Iterator[Capture]:
    """Plug a box in and yield an acquisition on it; at the end the light is dark."""
    with VirtualDaq(folder, [BoxConfig(**{'rate': FAST, **config})]) as rig:
        capturing = Capture(rig, values or {}, clock=clock, transport=transport)
        try:
            yield capturing
        finally:
            capturing.stop.set()
            capturing.acquisition.close()
            capturing.acquisition.end_pursuit()  # of a box that a test has left unplugged
        if rig.box.present:
            assert rig.box.led == 0.0
        assert not rig.box.protocol_faults


def check_account(told: list[Told], box: Box, period_ns: float = 1e9 / FAST) -> int:
    """
    Hold what was told of an acquisition against what the box did; return the number lost.

    Within a stream every loss must be at its place; an outage must be counted by time. A frame
    that the box never finished shows in time alone: where it is a single one or stamps are
    predicted it may be told later, but not after the second real one that shows it.
    """
    records = {int(record['frame']): record for record in box.frames}
    lost_total = told[0].frame.capture_index
    edges_known = True
    told_afresh = box.config.kernel == 'fixed_firmware' or box.config.open_ephys
    first_edge = next((
        records[one.number]['sync'] - one.frame.sync_edge
        for one in told if one.frame.sync_edge >= 0), 0)
    for place, one in enumerate(told):
        record = records[one.number]
        assert record['status'] == Fate.DELIVERED and not record['faults'] & DAMAGE
        assert one.frame.frame_index == place
        reported_ns = record['reported_ns'] // 1000 * 1000
        bad = bool(record['faults'] & BAD_STAMP)
        if place and reported_ns <= told[place - 1].stamp_ns:
            # A guess may be later than the next real stamps, if its frame came late.
            late_ns = max(earlier.frame.sample.receive_ns - records[earlier.number]['end_ns']
                          for earlier in told[max(0, place - 5):place])
            assert bad or late_ns > 0.8 * period_ns
            bad = True
        expected = StampSource.PREDICTED if bad else StampSource.BUFFER
        assert one.stamp_source is expected
        if told_afresh:
            count, reading = one.frame.device_frame_count, one.frame.sample.orientation
            assert count == -1 or count & 0xFFFF == record['counter'] & 0xFFFF, (
                count, one.frame.sample.device_count, record,
                [(t.number, t.frame.device_frame_count) for t in told[place - 6:place + 2]])
            assert reading is None or reading == tuple(record['quaternion'])
        if expected is StampSource.BUFFER:
            assert one.stamp_ns == reported_ns
    hidden = 0
    for before, after in pairwise(told):
        frame = after.frame
        assert after.stamp_ns > before.stamp_ns
        assert frame.stamp_ns - before.frame.stamp_ns == after.stamp_ns - before.stamp_ns
        assert math.isclose(
            frame.time_ms, (after.stamp_ns - told[0].stamp_ns) / 1e6, abs_tol=1e-6)
        assert frame.capture_index == before.frame.capture_index + 1 + frame.loss.lost
        lost_total += frame.loss.lost
        between = [records[number] for number in range(before.number + 1, after.number)]
        if records[before.number]['stream'] != records[after.number]['stream']:
            # The scope has gone on, or it has stood still while no stream was open.
            gap = (after.stamp_ns - before.stamp_ns) / period_ns - 1
            assert abs(frame.loss.lost - gap) <= 1 + 0.001 * gap
            taken = after.number - before.number - 1
            assert abs(frame.loss.lost - taken) <= max(1, frame.loss.uncertainty), (
                frame.loss, taken, gap)
            assert frame.loss.evidence in (Evidence.TIME, Evidence.DAMAGED)
            edges_known, hidden = False, 0
        else:
            damaged = sum(bool(r['faults'] & DAMAGE) for r in between)
            unfinished = [r['status'] for r in between].count(Fate.UNFINISHED)
            finished = len(between) - unfinished
            hidden += unfinished
            by_time = min(hidden, max(0, frame.loss.lost - finished))
            hidden -= by_time
            guess = StampSource.PREDICTED
            if hidden and after.stamp_source is not guess:
                # A loss of one frame is reported when the next frame shows it, too.
                assert hidden == 1 and (unfinished or before.stamp_source is guess)
                assert frame.loss.uncertainty == 1
            unfinished = by_time
            where = f'between frames {before.number} and {after.number} of the box'
            assert (frame.loss.lost, frame.loss.damaged) == (finished + unfinished, damaged), where
            if damaged:
                assert frame.loss.evidence is Evidence.DAMAGED, where
            elif unfinished:
                assert frame.loss.evidence is Evidence.TIME, where
            elif finished:
                assert frame.loss.evidence is Evidence.SEQUENCE, where
            else:
                assert frame.loss.evidence is Evidence.NONE, where
        edge = records[after.number]['sync']
        assert frame.sync_edge == (edge - first_edge if edge >= 0 and edges_known else -1)
    return lost_total


def check_changes(changes: list[Change], told: list[Told], box: Box) -> None:
    """Hold the control changes that were told against the registers under which frames began."""
    records = {int(record['frame']): record for record in box.frames}
    for place, control in enumerate(CONTROLS):
        of_control = [change for change in changes if change.event.control == control]
        assert all(change.event.raw == V4.controls[control].raw(change.event.value)[0]
                   for change in of_control)
        for one in told if of_control else ():
            record, index = records[one.number], one.frame.capture_index
            settled = [c for c in of_control if 0 <= c.first_capture_index <= index]
            # What was being sent while the frame was still to come may be in force or not.
            possible = {settled[-1].event.raw} | {
                c.event.raw for c in of_control
                if not 0 <= c.first_capture_index <= index
                and settled[-1].event.sent_ns < c.event.sent_ns < record['end_ns'] + SENDING}
            found = {int(record['raw_start'][place]), int(record['raw_end'][place])}
            assert found <= possible, (
                f'{control} was {found} in frame {one.number} of the box, capture index {index}, '
                f'which ended at {record["end_ns"]}; told was {of_control}')
