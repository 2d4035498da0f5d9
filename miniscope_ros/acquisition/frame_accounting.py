# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The book of one acquisition: what each published frame is, and what was lost before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
import math
import time

from miniscope_ros.acquisition.frame_content import describe_faults
from miniscope_ros.acquisition.loss import FrameLoss, LossAccount
from miniscope_ros.acquisition.period import Period
from miniscope_ros.acquisition.ros_clock import RosTime
from miniscope_ros.acquisition.timestamps import TimestampFilter
from miniscope_ros.model import Content, RawFrame, ReadingStatus, StampSource
from miniscope_ros.sources.source import Source

_IN_TIME = 0.9
"""Part of a period after a frame's end in which it is read; a rest is for the jitter of stamps."""

_STREAM_START_NS = 500_000_000
"""
So long after opening a device may take until its stream runs [ns].

Opening takes 0.1 s on the virtual box and the kernels tried; a busy computer takes longer.
"""


@dataclass(slots=True)
class Frame:
    """One frame to publish, with the account of it."""

    sample: RawFrame
    stamp_ns: int  # ROS clock
    receive_ns: int  # ROS clock
    frame_index: int
    capture_index: int
    loss: FrameLoss
    device_frame_count: int
    sync_edge: int
    reading_status: ReadingStatus
    time_ms: float
    rate: float  # measured [frames/s]; NaN while unknown
    waiting: Callable[[], bool]  # whether another frame is ready already
    content: Content
    settled: bool = True
    """No value is on its way to the scope, and no restart of the head stage has taken one."""


class FrameAccounting:
    """
    Gives frames their indices, times and sync edges, and counts what was lost.

    Its numbers are those of the running or the last acquisition.
    """

    def __init__(self, source: Source, clock: RosTime) -> None:
        self.clock = clock
        self.timestamps = TimestampFilter(self._waiting)
        self.loss = LossAccount(Period(constant=source.has_constant_rate))
        self._source = source
        self._discarded = False
        self._stopped_ns: int | None = None  # CLOCK_MONOTONIC, since when no frame came
        self._counted_ns = 0  # until when that is in _closed_ns
        self._arrived_ns = 0  # when the last frame of any kind arrived
        self._closed_ns = 0  # how long none was open since the last published frame
        self.begin()

    def begin(self) -> None:
        """Start an acquisition: the next frame is frame_index 0."""
        self.clock.start()
        if not self._source.is_live:
            self.timestamps.forget()
        self.loss.steady = self._source.has_constant_rate  # a recording knows it once it is open
        # A recording whose frames are numbered has no constant rate: its numbers show all losses.
        self.loss.numbered = not self._source.is_live and not self._source.has_constant_rate
        self.loss.counter.trusted = not self._source.is_live
        self.loss.begin(fresh=not self._source.is_live)
        self.published = 0
        self.time_ms = 0.0  # of the last frame
        self._stamp0_ns: int | None = None
        self._edges = 0
        self._edges_known = True

    def stream_stopped(self) -> None:
        """
        Note that the stream was closed.

        Since its last frame nobody knows whether the scope runs: the box may have been frozen.
        """
        if self._stopped_ns is None:
            self._stopped_ns = self._arrived_ns or time.monotonic_ns()

    def stream_restarted(self) -> None:
        """
        Go on with another stream, which is about to be opened.

        Only time shows what was lost until its first frame. To be called before it is opened.
        """
        if self._stopped_ns is not None:
            now_ns = time.monotonic_ns()
            since_ns = max(self._stopped_ns, self._counted_ns)
            self._closed_ns += now_ns - since_ns + _STREAM_START_NS
            self._counted_ns = now_ns
            self._stopped_ns = None
        self.timestamps.restart()
        self.loss.stream_restarted(self._closed_ns)
        # How often the box toggled before it went is not known.
        self._edges_known = False

    @property
    def captured(self) -> int:
        """Return how many frames the scope took, as far as known."""
        return self.published + self.loss.totals.lost

    @property
    def rate(self) -> float:
        """
        Return the measured frame rate [frames/s]; NaN while unknown.

        It is that of the running median of the intervals. The times of a recording may be whole
        milliseconds, and then a median is half of one off: there the mean is taken, over all
        frames since the first, lost ones counted. Recordings with numbered frames have exact
        times.
        """
        if self._source.is_live or self.loss.numbered or not self.time_ms:
            return 1e9 / self.loss.period.ns
        return 1e3 * (self.captured - 1) / self.time_ms

    def summary(self, display_skipped: int, contents: Mapping[Content, int]) -> str:
        """
        Return the whole account in one line.

        display_skipped counts pictures not made, contents those that show a fault.
        """
        totals = self.loss.totals
        seconds = self.time_ms / 1e3
        rate = (self.published - 1) / seconds if seconds else math.nan
        faults = describe_faults(contents)
        return (
            f'{self.captured} frames captured = {self.published} published + {totals.lost} lost '
            f'({totals.sequence} by sequence, {totals.counter} by counter, {totals.time} by time, '
            f'{totals.damaged} damaged); display skipped {display_skipped}; '
            f'{seconds:.1f} s, {rate:.3f} frames/s on average'
            + (f'; faulty pictures: {faults}' if faults else ''))

    def correct(self, sample: RawFrame, *, discarded: bool = False) -> RawFrame:
        """
        Return the frame with a valid stamp, and without what was read too late for it.

        To be called for every frame. discarded says that it was taken by a command of the source
        and comes here later: whether another one waited by then is not known any more.
        """
        self._discarded = discarded
        self._arrived_ns = sample.receive_ns
        sample = self.timestamps.correct(sample, self.loss.period.ns)
        # When the next frame has ended the reading is that one's, even if it never arrives.
        next_end_ns = (
            sample.stamp_ns + self.timestamps.read_out_ns + _IN_TIME * self.loss.period.ns)
        if sample.read_ns is not None and sample.read_ns > next_end_ns:
            sample = replace(sample, orientation=None, device_count=None, digital_inputs=-1)
        if sample.device_count is not None:
            self.loss.counter.bits = sample.device_count_bits
            self.loss.counter.exact = self._source.is_live and sample.read_ns is None
        return sample

    def _waiting(self) -> bool:
        # For a frame that was discarded a guess that is too early does no harm.
        return self._discarded or self._source.waiting()

    def observe_unpublished(self, sample: RawFrame) -> None:
        """Take in a corrected frame that is not published: the next one is compared with it."""
        self._closed_ns = 0
        self.loss.observe(sample.stamp_ns, sample.sequence, sample.device_count)

    def account(
        self, sample: RawFrame, reading_status: ReadingStatus, content: Content, toggles: bool,
    ) -> Frame:
        """
        Account for a whole frame whose stamp is corrected.

        content is what its picture shows, toggles says whether the sync output has an edge for
        each frame.
        """
        loss = self.loss.frame(
            sample.stamp_ns, sample.sequence, sample.device_count,
            predicted=sample.stamp_source is StampSource.PREDICTED,
            arrival=sample.stamp_source in (StampSource.ARRIVAL, StampSource.RECORDED))
        self._closed_ns = 0
        if self._stamp0_ns is None:
            self._stamp0_ns = sample.stamp_ns
        self.published += 1  # first: the rate is asked for in another thread
        self.time_ms = (sample.stamp_ns - self._stamp0_ns) / 1e6
        if toggles and loss.edges < 0:
            self._edges_known = False
        elif toggles:
            self._edges += loss.edges
        frame = Frame(
            sample=sample, stamp_ns=self.ros_time_ns(sample),
            receive_ns=self.clock.at(sample.receive_ns),
            frame_index=self.published - 1, capture_index=self.captured - 1, loss=loss,
            device_frame_count=self.loss.counter.count,
            sync_edge=self._edge(sample, toggles),
            reading_status=reading_status, time_ms=self.time_ms, rate=self.rate,
            waiting=self._source.waiting, content=content)
        self._edges += toggles
        return frame

    def _edge(self, sample: RawFrame, toggles: bool) -> int:
        if sample.sync_edge is not None:
            return sample.sync_edge
        return self._edges if toggles and self._edges_known else -1

    def ros_time_ns(self, sample: RawFrame) -> int:
        """Return a sample's stamp on the ROS clock."""
        return self._source.ros_time_ns(sample, self.clock.at)
