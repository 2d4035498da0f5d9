# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Frames of which is known what they show, for a virtual box to send in turn."""
from collections import Counter
from itertools import cycle

from miniscope_ros.model import Content
import numpy as np
from picture_damage import deviation, Image, KINDS, misplace
from picture_scenes import scene_frames

_CLEAR = 6.0  # [grey values] deviation of damage that must be found


def make_bank() -> tuple[Image, list[Content]]:
    """
    Return frames of a scope, (frames, height, width), and what each shows.

    Blocks are misplaced in each of the ways in which that can happen.

    The first pixel of each is its place, so that no two are equal that are not meant to be.
    """
    rng = np.random.default_rng(3)
    bank: list[Image] = []
    contents: list[Content] = []

    def add(image: Image, content: Content) -> None:
        image = image.copy()
        if content is not Content.REPEATED:
            image[0, 0] = len(bank)
        bank.append(image)
        contents.append(content)

    good = list(scene_frames(6 * len(KINDS)))
    kinds = cycle(KINDS)
    add(good[0], Content.OK)
    for place in range(1, len(good)):
        before, image = good[place - 1], good[place]
        if place % 6 == 2:
            kind, damaged = next(kinds), image
            while deviation(damaged, image) <= _CLEAR:
                damaged = misplace(kind, before, image, rng)
            add(damaged, Content.BLOCKS_MISPLACED)
        elif place % 6 == 4:
            add(np.zeros_like(image), Content.DARK)
        elif place % 6 == 5:
            add(image, Content.OK)
            add(bank[-1], Content.REPEATED)
        else:
            add(image, Content.OK)
    return np.stack(bank), contents


class Places:
    """What was told of published frames, which are those of a bank in turn."""

    def __init__(self, bank: Image, expected: list[Content]) -> None:
        self.frames: list[tuple[int, Content]] = []  # place in the bank and what was told
        self._judged: list[int] = []  # which of these could be compared
        self._wrong: list[int] = []  # which of them are not as expected
        self._bank = bank
        self._expected = expected
        self._place = -1

    def add(self, image: Image, content: Content, lost: int) -> None:
        """Take in a frame, what was told of it, and how many were lost before it."""
        equal = [place for place, one in enumerate(self._bank) if np.array_equal(one, image)]
        # Of two equal ones it is the second if it follows the first.
        place = next((one for one in equal if one == self._place + 1), equal[0])
        # What follows a lost frame need not repeat the one that is before it in the bank.
        follows = not lost and self._place >= 0
        self._place = place
        self.frames.append((place, content))
        if follows:
            self._judged.append(len(self.frames) - 1)
            if content is not self._expected[place]:
                self._wrong.append(len(self.frames) - 1)

    def judge(self, lit: int) -> tuple[int, list[tuple[int, Content]]]:
        """
        Judge so many frames, which began under the light.

        Return how many of them could be compared, and those that are not as expected: what was
        lost before a frame may be what it repeats. What begins after LED dark was sent may be
        half lit: it can neither be dark nor repeat.
        """
        return (sum(number < lit for number in self._judged),
                [self.frames[number] for number in self._wrong if number < lit])

    @property
    def faults(self) -> dict[Content, int]:
        """Return how many frames were told to show each fault."""
        counts = Counter(content for _, content in self.frames)
        return {content: count for content, count in counts.items()
                if content not in (Content.OK, Content.NOT_CHECKED)}
