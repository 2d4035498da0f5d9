# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the pictures of a box show, from its blocks to the account."""
from pathlib import Path

from capturing import capture
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.acquisition.frame_content import describe_faults
from miniscope_ros.model import Content
import numpy as np
from picture_damage import deviation, Image, misplace
from picture_scenes import scene_frames
import pytest

KNOWN = 30  # frames after which the usual picture is known


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


def test_the_content_of_known_frames_is_told_exactly(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('INFO')
    bank, expected = make_bank()
    with capture(tmp_path, image=bank, rate=60.0) as scope:
        scope.ear.on_frame = told = Places(bank)  # type: ignore[method-assign]
        scope.start()
        scope.box.wait(lambda: len(told.frames) > KNOWN + 2 * len(bank), 40.0)
        scope.acquisition.deactivate()
        status = scope.status
    assert told.frames
    counts = dict.fromkeys(Content, 0)
    for place, content, follows in told.frames:
        # What follows a lost frame need not repeat the one that is before it in the bank.
        assert content is expected[place] or not follows, place
        counts[content] += 1
    faults = {content: count for content, count in counts.items()
              if count and content is not Content.OK}
    assert set(faults) == {Content.BLOCKS_MISPLACED, Content.DARK, Content.REPEATED}
    assert dict(status.contents) == faults
    ended = [text for text in caplog.messages if text.startswith('acquisition ended')]
    assert len(ended) == 1
    assert ended[0].endswith(f'; faulty pictures: {describe_faults(faults)}')


class Places:
    """Keeps which frame of a bank each published one is, and what was told of it."""

    def __init__(self, bank: Image) -> None:
        self.frames: list[tuple[int, Content, bool]] = []
        self._bank = bank
        self._place = -1

    def __call__(self, frame: Frame) -> None:
        image = frame.sample.image
        equal = [place for place, one in enumerate(self._bank) if np.array_equal(one, image)]
        # Of two equal ones it is the second if it follows the first.
        place = next((one for one in equal if one == self._place + 1), equal[0])
        follows = frame.loss.lost == 0 and self._place >= 0
        self._place = place
        self.frames.append((place, frame.content, follows))


def test_nothing_is_said_of_good_pictures(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('INFO')
    with capture(tmp_path, image=np.stack(list(scene_frames(20))), rate=60.0) as scope:
        scope.start()
        scope.ear.wait_frames(2 * KNOWN)
        scope.acquisition.deactivate()
        assert {one.frame.content for one in scope.ear.frames} == {Content.OK}
        assert not scope.status.contents
    assert any(text.startswith('acquisition ended') for text in caplog.messages)
    assert not any('faulty' in text for text in caplog.messages)


def test_a_light_that_is_switched_on_makes_no_dark_picture(tmp_path: Path) -> None:
    levels = set()

    def look(frame: Frame) -> None:
        levels.add(int(frame.sample.image[300, 300]))
    with capture(tmp_path, {'led': 0.0}, image='lit', rate=60.0) as scope:
        scope.ear.at_frame = look
        scope.start()
        for led in (50.0, 0.0, 20.0):
            scope.ear.wait_frames(15)
            scope.source.set_value('led', led)
        scope.ear.wait_frames(15)
        assert 8 in levels and max(levels) > 30  # the box is never quite dark
        assert Content.DARK not in scope.status.contents
