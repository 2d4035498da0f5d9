# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the pictures of a box show, from its blocks to the account."""
from pathlib import Path

from capturing import capture
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.acquisition.frame_content import describe_faults
from miniscope_ros.model import Content, Reason
import numpy as np
from picture_bank import make_bank, Places
from picture_scenes import scene_frames
import pytest

KNOWN = 30  # frames after which the usual picture is known


def test_the_content_of_known_frames_is_told_exactly(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('INFO')
    bank, expected = make_bank()
    with capture(tmp_path, image=bank, rate=60.0) as scope:
        told, stamps = Places(bank, expected), []

        def add(frame: Frame) -> None:
            stamps.append(frame.sample.stamp_ns)
            told.add(frame.sample.image, frame.content, frame.loss.lost)

        scope.ear.at_frame = add
        scope.start()
        enough = KNOWN + 2 * len(bank)
        scope.box.wait(lambda: told.judge(len(told.frames))[0] > enough, 40.0)
        scope.acquisition.deactivate()
        status = scope.status
    dark_ns, = (change.event.sent_ns for change in scope.ear.changes
                if change.event.control == 'led' and change.event.reason is Reason.STOP)
    judged, wrong = told.judge(sum(stamp < dark_ns for stamp in stamps))
    assert judged > enough and not wrong
    faults = told.faults
    assert set(faults) == {Content.BLOCKS_MISPLACED, Content.DARK, Content.REPEATED}
    assert dict(status.contents) == faults
    ended = [text for text in caplog.messages if text.startswith('acquisition ended')]
    assert len(ended) == 1
    assert ended[0].endswith(f'; faulty pictures: {describe_faults(faults)}')


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
