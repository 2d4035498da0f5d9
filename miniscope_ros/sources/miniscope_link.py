# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""An open DAQ box with its stream running: packets go in, frames come out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
import math
import time

from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.daq.firmware import Firmware, Telemetry
from miniscope_ros.errors import DeviceLost
from miniscope_ros.model import RawFrame, SourceEvent, StampSource
from miniscope_ros.sources.earliest_begin import EarliestBegin
from miniscope_ros.sources.patience import Patience
from miniscope_ros.transports.transport import Buffer, Transport
import numpy as np
from numpy.typing import NDArray

_QUEUE = 32  # packets waiting in the box at most, half of the 64 that it can hold
_SLICE_S = 0.1  # time between two checks of the stop event
_AT_ONCE = 0.3  # part of a period after a frame's arrival that still counts as right after it
_DURATIONS, _FEWEST_DURATIONS = 64, 16  # frames whose times from stamp to arrival are kept
_SHORTEST_PERIOD = 0.95  # of the labelled one; real ones differ by some percent
_CATCH_UP_S = 0.2  # the longest wait of catch_up, or
_CATCH_UP_PERIODS = 2  # this many periods, if that is longer
_OLDEST_NS = 20_000_000_000  # an older stamp is invalid: no buffer waits so long
_FREEZE_PERIODS = 5  # a box that sends no frame for this many periods is frozen,
_FREEZE_S = 1.0  # but not sooner than this

_WORD = np.dtype('<u2')


def extract_grey(yuyv: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """
    Write the sensor's own values to out (height, width): the even bytes of YUYV (1-D).

    As the low bytes of 16-bit words NumPy takes them in 13 us where OpenCV's extractChannel
    takes 71 (608x608, warm).
    """
    out[...] = yuyv.view(_WORD).reshape(out.shape)


class ScopeLink:
    """
    What exists only while a box is open: its stream, and the packets in its queue.

    Frames that it discards while it waits for something are added to events, in their order.
    """

    def __init__(
        self, transport: Transport, firmware: Firmware, device_type: DeviceType,
        patience: Patience, events: list[SourceEvent], frame_rate: float,
    ) -> None:
        """Take an open box whose stream was started; frame_rate [frames/s] is what to expect."""
        self.transport = transport
        self.firmware = firmware
        self.patience = patience
        self.frame_rate = frame_rate
        self.came_up = False  # a frame has come: there is a scope
        self.readings = True  # orientation, counter and inputs are read; that costs bus transfers
        self.new_rate_frames = 0  # whole frames that began since the frame rate was changed
        self._events = events
        self._sent: deque[int] = deque()  # when [ns], of packets not known to be executed
        self._last_frame = time.monotonic()  # when it arrived [s]
        self._began_ns = 0  # when its read-out began
        self._durations_ns: deque[int] = deque(maxlen=_DURATIONS)  # from stamp to arrival
        self._begin = EarliestBegin()
        self._rate = math.nan  # as sent in this stream
        self._rate_ns = 0  # when that was
        self._grey = np.empty((device_type.height, device_type.width), np.uint8)

    def close(self) -> None:
        """Stop the stream and close the box."""
        self.transport.close()

    # Commands

    def send(self, packets: Iterable[bytes], *, at_once: bool = False) -> int:
        """
        Queue packets in the box, never more than it can hold; return when that was done [ns].

        at_once does not wait for room: half of the queue is kept free for going dark.
        """
        for packet in packets:
            with self.patience.uninterruptible():
                while len(self._sent) >= _QUEUE and not at_once:
                    self.discard(keep=True)
            self.firmware.send(packet)
            self._sent.append(time.monotonic_ns())
        return time.monotonic_ns()

    def note_rate(self, rate: float, sent_ns: int) -> None:
        """Note that a frame rate [frames/s] was sent at a time [ns]."""
        self.frame_rate = rate
        if rate != self._rate:
            self._rate, self._rate_ns, self.new_rate_frames = rate, sent_ns, 0
            self._begin.restart()

    def since_last_frame(self) -> float:
        """Return how long ago the last frame arrived [s]."""
        return time.monotonic() - self._last_frame

    def rest_after_frame(self, seconds: float) -> None:
        """Wait until a frame arrived so long ago, but never for more than a third of a period."""
        rest = min(seconds, 1 / (3 * self.frame_rate)) - self.since_last_frame()
        if rest > 0:
            time.sleep(rest)

    # Waiting

    def wait_for_first_frame(self, patience_s: float) -> bool:
        """Discard the next frame; return False if none comes in that time."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if self.discard(freeze=False) is not None:
                self.came_up = True
                return True
        return False

    def wait_for_frame_ends(
        self, ends: int, since_ns: int, pause_s: float = 0.0, *, keep: bool = False,
    ) -> None:
        """
        Discard frames until so many have ended since a time [ns], and for a pause at least.

        A frame that waits in the ring, or was being read out at that time, may have ended before
        and proves nothing: those count whose read-out began later. A damaged one proves nothing
        either. keep is that of discard, for frames that may be published.
        """
        last_whole = time.monotonic()
        until = last_whole + pause_s
        while ends > 0 or time.monotonic() < until:
            sample = self.discard(keep=keep)
            if sample is not None and not sample.damaged:
                last_whole = time.monotonic()
                ends -= self._began_ns >= since_ns
            elif time.monotonic() - last_whole > self.freeze_limit():
                raise DeviceLost(
                    f'no whole frame for {time.monotonic() - last_whole:.1f} s, only damaged '
                    'ones: check device_type and the cables')

    def catch_up(self) -> None:
        """
        Discard frames until one has only just arrived: most of a period is left then.

        Nothing is read beside these frames, and a computer that cannot keep up is not waited for
        longer than 0.2 s or two periods. Their images are kept, for they may be published.
        """
        deadline = time.monotonic() + max(_CATCH_UP_S, _CATCH_UP_PERIODS / self.frame_rate)
        readings, self.readings = self.readings, False
        try:
            while time.monotonic() < deadline:
                late = time.monotonic() - self._last_frame
                if late < _AT_ONCE / self.frame_rate and not self.waiting():
                    return
                self.discard(keep=True)
        finally:
            self.readings = readings

    def discard(self, *, freeze: bool = True, keep: bool = False) -> RawFrame | None:
        """
        Take a frame; None if none came in a while, DeviceLost if that lasts (freeze).

        keep gives the frame an image of its own, which outlives the next one.
        """
        self.patience.check()
        sample = self.dequeue(_SLICE_S)
        if sample is not None:
            self._events.append(
                replace(sample, image=sample.image.copy()) if keep else sample)
        elif freeze:
            self.check_freeze()
        return sample

    def freeze_limit(self) -> float:
        """Return how long no frame may come before the box is taken for frozen [s]."""
        return max(_FREEZE_S, _FREEZE_PERIODS / self.frame_rate)

    def frames_flow(self) -> bool:
        """Return whether a frame has come lately."""
        return self.since_last_frame() < self.freeze_limit()

    def check_freeze(self) -> None:
        """Raise DeviceLost if no frame has come for too long."""
        if not self.frames_flow():
            raise DeviceLost(
                f'no frame for {self.since_last_frame():.1f} s: the DAQ box or the scope is '
                'frozen or unplugged')

    # Frames

    def waiting(self) -> bool:
        """Return whether another frame is ready."""
        return self.transport.waiting()

    def dequeue(self, timeout: float) -> RawFrame | None:
        """Return the next frame; None after timeout [s]. Its image is valid until the next."""
        buffer = self.transport.dequeue(timeout)
        if buffer is None:
            return None
        receive_ns = time.monotonic_ns()
        self._last_frame = receive_ns * 1e-9
        self._note_began(buffer, receive_ns)
        self.new_rate_frames += not buffer.damaged and self._began_ns >= self._rate_ns
        try:
            return self._sample(buffer, receive_ns)
        finally:
            self.transport.requeue(buffer)

    def _note_began(self, buffer: Buffer, receive_ns: int) -> None:
        """Note when a frame's read-out began; what was sent before that is executed by now."""
        stamp_ns = buffer.stamp_ns or 0
        period_ns = 1e9 / self.frame_rate
        if max(self._began_ns, receive_ns - _OLDEST_NS) < stamp_ns <= receive_ns:
            self._durations_ns.append(receive_ns - stamp_ns)
        else:
            stamp_ns = receive_ns - round(period_ns)
        earliest_ns = self._begin.bound(stamp_ns, buffer.sequence, period_ns)
        if buffer.is_arrival:
            stamp_ns = earliest_ns
        self._began_ns = max(self._began_ns, stamp_ns)
        while self._sent and self._sent[0] <= self._began_ns:
            self._sent.popleft()

    def _has_ended(self, stamp_ns: int | None, now_ns: int) -> bool:
        """
        Return whether the frame after one may have ended, by its stamp.

        On a busy computer it has ended before the transport knows of it. The time from a frame's
        stamp to its arrival, without the delays of a busy computer, is a low quantile of those
        seen of late: a single wrong stamp does not count.
        """
        if not stamp_ns or len(self._durations_ns) < _FEWEST_DURATIONS:
            return False
        usual_ns = sorted(self._durations_ns)[len(self._durations_ns) // 8]
        period_ns = _SHORTEST_PERIOD * 1e9 / self.frame_rate
        return now_ns > stamp_ns + period_ns + usual_ns

    def _sample(self, buffer: Buffer, receive_ns: int) -> RawFrame:
        telemetry, read_ns = Telemetry(), None
        if not buffer.damaged:
            if self.readings or self.firmware.embeds_telemetry:
                telemetry = self.firmware.telemetry(buffer.data)
            if not self.firmware.embeds_telemetry:
                read_ns = time.monotonic_ns()
                if self.waiting() or self._has_ended(buffer.stamp_ns, read_ns):
                    telemetry = Telemetry()  # read too late: it belongs to a later frame
            extract_grey(buffer.data, self._grey)
        return RawFrame(
            image=self._grey, stamp_ns=buffer.stamp_ns or 0,
            stamp_source=(
                StampSource.ARRIVAL if buffer.stamp_ns is None or buffer.is_arrival
                else StampSource.BUFFER),
            receive_ns=receive_ns, sequence=buffer.sequence,
            device_count=telemetry.device_count,
            device_count_bits=telemetry.device_count_bits,
            device_time_ms=(
                buffer.device_time_ms if math.isnan(telemetry.device_time_ms)
                else telemetry.device_time_ms), orientation=telemetry.quaternion,
            digital_inputs=telemetry.digital_inputs, damaged=buffer.damaged, read_ns=read_ns)
