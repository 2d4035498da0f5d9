# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the frames of a source show, under the light as the controls have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from miniscope_ros.acquisition.content import ContentChecker
from miniscope_ros.model import Content, RawFrame, SourceInfo

WORDS = {
    Content.BLOCKS_MISPLACED: 'blocks misplaced',
    Content.BANDED: 'banded',
    Content.DARK: 'dark',
    Content.REPEATED: 'repeated',
}
"""The faults of pictures, in words for people."""

_WHOLLY_LIT = 2
"""
Frames that begin after a light value was sent until one is taken wholly under it.

The value takes effect when a frame ends, and changes the exposure of the next one in its middle
(see ControlTracker). The first frame that begins after the sending may be of the old light, the
second one of both.
"""


class FrameContent:
    """
    Judges frames one after the other, and counts what was found.

    The capture thread alone calls it; counts may be read in any thread.
    """

    def __init__(self) -> None:
        self._counts: Counter[Content] = Counter()
        self._checker: ContentChecker | None = None  # only for what can be checked
        self._info: SourceInfo | None = None
        self._lit = False  # a light was switched on
        self._changed_ns: int | None = None  # CLOCK_MONOTONIC of the last change, until it holds
        self._begun_since = 0  # frames that began after that
        self._first_change_ns = 0  # CLOCK_MONOTONIC, of those that do not hold yet
        self._was_lit = False  # a light was on before that
        self._frame_lit = False  # the frame judged last was

    @property
    def counts(self) -> Mapping[Content, int]:
        """Return how many frames of the acquisition showed each fault; faults that occurred."""
        counts = self._counts.copy()
        return {content: counts[content] for content in WORDS if counts[content]}

    def begin_stream(self, info: SourceInfo) -> None:
        """Take what is known of a source that was opened; what was learnt of it is kept."""
        before, self._info = self._info, info
        if before is None or (before.width, before.height, before.has_blocks) != (
                info.width, info.height, info.has_blocks):
            self._checker = ContentChecker(
                info.width, info.height, has_blocks=True) if info.has_blocks else None

    def begin(self) -> None:
        """Count from 0: an acquisition begins."""
        self._counts = Counter()

    def note_lights(
        self, lights: Mapping[str, float], sent_ns: int, *, lighting_up: bool,
    ) -> None:
        """
        Take the values of the lights in force, of which one was sent at a time [ns].

        lighting_up says whether the next frame is the first one that is published: it is wholly
        under them.
        """
        if self._changed_ns is None:
            self._first_change_ns, self._was_lit = sent_ns, self._lit
        self._lit = any(lights.values())
        self._changed_ns = None if lighting_up else sent_ns
        self._begun_since = 0

    def observe_dark(self, sample: RawFrame) -> None:
        """Take in a good frame of which it is known that the light was off."""
        if self._checker is not None:
            self._checker.observe_dark(sample.image)

    def check(self, sample: RawFrame) -> Content:
        """Return what a good frame shows, and count it."""
        content = sample.content
        if content is None:
            content = self._judge(sample)
        self._counts[content] += 1
        return content

    def _judge(self, sample: RawFrame) -> Content:
        if self._checker is None:
            return Content.NOT_CHECKED
        self._frame_lit = self._is_lit(sample)
        return self._checker.check(sample.image, lit=self._frame_lit)

    @property
    def lit(self) -> bool:
        """Return whether the frame that was judged last was taken wholly under light."""
        return self._frame_lit

    def overrule(self, content: Content, better: Content) -> Content:
        """Return what is known better of the frame judged last, and count it as that."""
        if content is not better:
            self._counts[content] -= 1
            self._counts[better] += 1
        return better

    def _is_lit(self, sample: RawFrame) -> bool:
        """
        Return whether a frame was taken wholly under light.

        One that was waiting to be taken when a change was sent is of the light before.
        """
        if self._changed_ns is not None and sample.stamp_ns < self._first_change_ns:
            return self._was_lit
        if self._changed_ns is not None and sample.earliest_ns >= self._changed_ns:
            self._begun_since += 1
            if self._begun_since > _WHOLLY_LIT:
                self._changed_ns = None
        return self._lit and self._changed_ns is None


def describe_faults(counts: Mapping[Content, int]) -> str:
    """Return the faults of pictures in words, as in '3 blocks misplaced, 1 dark'."""
    return ', '.join(
        f'{counts[content]} {words}' for content, words in WORDS.items() if counts.get(content))
