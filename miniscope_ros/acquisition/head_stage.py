# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Notices that the head stage has restarted, and says when to set it up again.

A worn cable or a commutator cuts the power of the head stage for a moment. It comes back with its
power-on values: LED dark, lens at rest, its own frame rate, the orientation sensor silent.
"""

from __future__ import annotations

from collections import deque
import math

from miniscope_ros.acquisition.head_stage_signs import Sign, StreamTimes
from miniscope_ros.model import Content, RawFrame

LIMIT_PER_HOUR = 120
"""The head stage is set up again this many times an hour at most; more is an error."""

_HOUR_S = 3600.0
_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 60.0
_PROVEN_NS = 1_000_000_000  # [ns] without a sign of a restart after which a repair has worked
_FAILED_ATTEMPTS = 4  # so many repairs in a row without effect are an error

_LIT_CONTENTS = (Content.OK, Content.BLOCKS_MISPLACED, Content.BANDED, Content.REPEATED)

_EVENTS = (Sign.LINK, Sign.DARK_AT_GAP)
"""Signs that come and go; the others last until a repair works."""


class HeadStage:
    """
    Watches the frames of one source; the capture thread alone calls it.

    A picture that goes dark is no sign by itself: the lens may be covered. It counts only where
    a frame was never finished just before, or after a repair for another sign. A link that was
    down is no sign where the picture after it shows the light. The Open Ephys firmware's state
    word has no known bit for the link or the power, so nothing is read from it.
    """

    def __init__(self, power_on_rate: float = math.nan) -> None:
        """Take the rate [frames/s] that the scope has at power-on; NaN: unknown."""
        self.restarts = 0  # since the source was made
        self.sign: Sign | None = None  # of the restart that is being dealt with
        self.error = ''  # why it is not being set up again, or that it does not help
        self.went_dark = False  # a dark picture was seen where the light was on
        self._times = StreamTimes(power_on_rate)
        self._repairs: deque[float] = deque()  # when [s], of the last hour
        self._backoff_s = _FIRST_BACKOFF_S
        self._attempts = 0  # in this episode
        self._not_before_s = -math.inf  # the next attempt
        self.begin_stream(watching=False)

    def begin_stream(self, *, watching: bool = True) -> None:
        """Begin a stream; not watching while it is being set up: links lock again then."""
        self._watching = watching
        self._restored_ns: int | None = None  # when the last value was sent
        self._control_index: int | None = None
        self._pending: Sign | None = None
        self._recovered = False  # a frame under control has shown no sign any more
        self._times.begin_stream()
        self._end_episode()
        self._backoff_s = _FIRST_BACKOFF_S

    @property
    def rate_differs(self) -> bool:
        """Return whether the rate that is set is another one than at power-on."""
        return self._times.rate_differs

    @property
    def controlled(self) -> bool:
        """Return whether all values are in force, as far as is known: no restart took them."""
        return self._controlled

    def note_rate(self, rate: float) -> None:
        """Note that a frame rate [frames/s] was sent."""
        self._times.note_rate(rate)

    # Frames

    def observe(
        self, sample: RawFrame, *, content: Content, lit: bool, brown_out: bool,
        capture_index: int, uncertainty: int = 0,
    ) -> Content:
        """
        Take in a whole frame, and return the content that it is published with.

        content is what its picture shows; lit says whether it was taken under light as the
        controls have it, brown_out whether the orientation sensor reads all zero; capture_index
        is -1 for a frame that is not published, and may still be too low by uncertainty.
        """
        if not self._watching:
            return content
        dark = content is Content.DARK
        sign = self._times.judge(
            sample, brown_out=brown_out, dark=dark,
            shows_light=lit and content in _LIT_CONTENTS)
        self._follow(sign, dark, sample.stamp_ns)
        if capture_index < 0:  # nobody sees which frame is the first under all values
            self._controlled |= self._restored_ns is not None and (
                sample.earliest_ns >= self._restored_ns)
        elif self._uncontrolled(
                sample.earliest_ns, capture_index, uncertainty) and self.went_dark:
            return Content.DARK
        return content

    # Episodes: from the first sign of a restart until a repair has worked

    def _follow(self, sign: Sign | None, dark: bool, stamp_ns: int) -> None:
        if self.sign is None and sign is None:
            return
        new = self.sign is None or (
            sign in _EVENTS and self._attempts > 0) or (sign is not None and self._recovered)
        if new:
            self.sign = sign
            self.restarts += 1
            self._recovered = False
            self._controlled, self._restored_ns = False, None
        if not self._controlled:
            self.went_dark |= dark
        elif sign is None and dark and self.went_dark:
            sign = Sign.STILL_DARK
        else:
            self._recovered |= sign is None
        if new or sign in _EVENTS or self._controlled or not self._attempts:
            # A lasting sign has to be seen again; an event is answered by a repair.
            stays = self._pending is self.sign and (
                self.sign in _EVENTS or not self._controlled or not self._attempts)
            self._pending = sign or (self._pending if stays else None)
        if sign is not None or self._pending is not None or not self._controlled:
            self._quiet_since_ns = stamp_ns
        elif stamp_ns - self._quiet_since_ns > _PROVEN_NS:
            self._end_episode()

    def _uncontrolled(self, stamp_ns: int, capture_index: int, uncertainty: int) -> bool:
        """Return whether a published frame is not wholly under all values."""
        if self._controlled:
            return False
        if self._restored_ns is not None and stamp_ns >= self._restored_ns:
            if self._control_index is None:
                # As control_changes have it: see ControlTracker.
                self._control_index = capture_index + 2 + uncertainty
            self._controlled = capture_index >= self._control_index
        return not self._controlled

    def _end_episode(self) -> None:
        self.sign = self._pending = None
        self.went_dark = False
        self._controlled = True
        self._recovered = False
        self._restored_ns = self._control_index = None
        self._quiet_since_ns = 0
        self._attempts = 0
        self._backoff_s = _FIRST_BACKOFF_S
        self.error = ''

    # Repairs

    def due(self, now_s: float) -> bool:
        """Return whether the head stage is to be set up again at a monotonic time [s]."""
        if self._pending is None or now_s < self._not_before_s:
            return False
        while self._repairs and self._repairs[0] < now_s - _HOUR_S:
            self._repairs.popleft()
        if len(self._repairs) >= LIMIT_PER_HOUR:
            self.error = (
                f'the head stage was set up {LIMIT_PER_HOUR} times within an hour and is left as '
                'it is now: check its cable, the commutator and the supply')
            return False
        return True

    def begin_repair(self, now_s: float) -> None:
        """Note that it is being set up at a monotonic time [s]."""
        self._repairs.append(now_s)
        self._not_before_s = now_s + self._backoff_s
        self._backoff_s = min(2 * self._backoff_s, _LONGEST_BACKOFF_S)
        self._attempts += 1
        self._pending = None
        self._controlled, self._restored_ns, self._control_index = False, None, None
        if self._attempts > _FAILED_ATTEMPTS:
            self.error = (
                f'the head stage was set up {self._attempts - 1} times since it restarted, '
                f'without effect ({self.sign and self.sign.value}): check its cable and supply')

    def end_repair(self, sent_ns: int) -> None:
        """Note when [ns, CLOCK_MONOTONIC] the last of the values was sent."""
        self._restored_ns = sent_ns
