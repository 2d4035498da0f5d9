# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Frames of which is known what they show, for a virtual box to send in turn."""
from collections import Counter

from miniscope_ros.model import Content
import numpy as np
from picture_damage import deviation, Image, misplace
from picture_scenes import scene_frames


def make_bank() -> tuple[Image, list[Content]]:
    """
    Return frames of a scope, (frames, height, width), and what each shows.

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

    good = list(scene_frames(20))
    add(good[0], Content.OK)
    for place in range(1, len(good)):
        before, image = good[place - 1], good[place]
        if place % 6 == 2:
            damaged = misplace('all pairs', before, image, rng)
            assert deviation(damaged, image) > 5
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
        self.wrong: list[tuple[int, Content]] = []  # of these, what is not as expected
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
        if follows and content is not self._expected[place]:
            self.wrong.append(self.frames[-1])

    @property
    def faults(self) -> dict[Content, int]:
        """Return how many frames were told to show each fault."""
        counts = Counter(content for _, content in self.frames)
        return {content: count for content, count in counts.items()
                if content not in (Content.OK, Content.NOT_CHECKED)}
