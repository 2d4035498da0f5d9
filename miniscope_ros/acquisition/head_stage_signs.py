# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The signs of a restart of the head stage, and those that the times of frames show."""

from __future__ import annotations

from collections import deque
from enum import Enum
import math

from miniscope_ros.acquisition.running_median import RunningMedian
from miniscope_ros.model import RawFrame, StampSource

_LINK_DOWN_NS = 200_000_000  # without a frame; serialiser and deserialiser lock again in 100 ms
_LINK_DOWN_PERIODS = 2.5
_USUAL_INTERVALS = 61  # the usual interval is the median of so many
_FEWEST_INTERVALS = 5  # with fewer the usual interval is not known
_UNUSUAL = 0.25  # share by which a usual interval may differ; the jitter of stamps
_RATE_INTERVALS = 6  # so many intervals show another rate
_RATE_TOLERANCE = 0.04  # share by which their mean may differ from the period of that rate
_OTHER_RATE = 0.08  # share by which two rates differ at least


class Sign(str, Enum):
    """What shows that the head stage has restarted."""

    SENSOR = 'the orientation sensor reads all zero'
    RATE = 'the frame rate is the one of power-on, not the one that is set'
    LINK = 'the link was down for a while'
    DARK_AT_GAP = 'the picture went dark where a frame was never finished'
    STILL_DARK = 'the picture is still dark'


class StreamTimes:
    """Compares the times of frames with the rate that is set; the capture thread calls it."""

    def __init__(self, power_on_rate: float) -> None:
        """Take the rate [frames/s] that the scope has at power-on; NaN: unknown."""
        self._power_on_rate = power_on_rate
        self._rate = math.nan  # as set [frames/s]
        self._usual = RunningMedian(_USUAL_INTERVALS)  # interval [ns]
        self._stamps: deque[int] = deque(maxlen=_RATE_INTERVALS + 1)  # [ns], without a gap
        self._sequence: int | None = None  # of the frame before
        self._showed_light = False  # the picture of the frame before did

    def begin_stream(self) -> None:
        """Forget the frames of the stream before; the rate that is set remains."""
        self._usual.clear()
        self._stamps.clear()
        self._sequence = None
        self._showed_light = False

    @property
    def rate_differs(self) -> bool:
        """Return whether the rate that is set is another one than at power-on."""
        return abs(self._power_on_rate / self._rate - 1) > _OTHER_RATE

    def note_rate(self, rate: float) -> None:
        """Note that a frame rate [frames/s] was sent."""
        if rate != self._rate:
            self._rate = rate
            self._usual.clear()
            self._stamps.clear()

    def judge(
        self, sample: RawFrame, *, brown_out: bool, dark: bool, shows_light: bool,
    ) -> Sign | None:
        """
        Take in the next frame and return the sign of a restart that it shows.

        Parameters
        ----------
        sample : RawFrame
            A whole frame. A predicted stamp shows nothing.
        brown_out : bool
            The orientation sensor reads all zero. Times are not looked at then.
        dark : bool
            The picture is dark where the light is on.
        shows_light : bool
            The picture shows the light.

        Returns
        -------
        Sign or None
            SENSOR, LINK, DARK_AT_GAP or RATE; None if nothing shows a restart.

        """
        showed_light, self._showed_light = self._showed_light, shows_light
        sign = Sign.SENSOR if brown_out else None
        if sample.stamp_source is StampSource.PREDICTED:
            self._stamps.clear()
        else:
            sign = sign or self._compare(sample, dark, showed_light)
            self._stamps.append(sample.stamp_ns)
        self._sequence = sample.sequence
        return sign

    def _compare(self, sample: RawFrame, dark: bool, showed_light: bool) -> Sign | None:
        """
        Compare the interval since the frame before with the usual one.

        showed_light says whether the picture of the frame before showed the light. A link that
        was down is no sign where this picture shows the light.
        """
        if not self._stamps:
            return None
        interval = sample.stamp_ns - self._stamps[-1]
        usual = self._usual.value if len(self._usual) >= _FEWEST_INTERVALS else math.nan
        skipped = self._skipped(sample.sequence)
        if not skipped and not abs(interval / usual - 1) > _UNUSUAL:
            self._usual.add(interval)
        silence = interval - (skipped + 1) * usual  # in which the box finished no frame
        if skipped or silence > usual / 2:
            self._stamps.clear()
        if silence > max(_LINK_DOWN_NS, _LINK_DOWN_PERIODS * usual) and not self._showed_light:
            return Sign.LINK
        if silence > usual / 2 and dark and showed_light:
            return Sign.DARK_AT_GAP
        return Sign.RATE if self._has_power_on_rate(sample.stamp_ns, usual) else None

    def _skipped(self, sequence: int | None) -> int:
        """Return how many frames that the box has finished are missing before this one."""
        if sequence is None or self._sequence is None:
            return 0
        return max(0, sequence - self._sequence - 1)

    def _has_power_on_rate(self, stamp_ns: int, usual: float) -> bool:
        """Return whether the last intervals are those of the power-on rate; usual [ns]."""
        if not self.rate_differs or len(self._stamps) <= _RATE_INTERVALS:
            return False
        expected = usual * self._rate / self._power_on_rate
        stamps = [*self._stamps, stamp_ns][-_RATE_INTERVALS - 1:]
        mean = (stamps[-1] - stamps[0]) / _RATE_INTERVALS
        even = all(
            abs((after - before) / mean - 1) < _UNUSUAL
            for before, after in zip(stamps, stamps[1:], strict=False))
        return even and abs(mean / expected - 1) < _RATE_TOLERANCE
