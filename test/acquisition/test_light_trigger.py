# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The light follows a digital input: dark while it is low, wholly lit from a known frame on."""
from __future__ import annotations

from itertools import pairwise
import math
from pathlib import Path

from capturing import capture, PATIENCE, SENDING
from miniscope_ros.acquisition.events import Change
import pytest

WITHIN = 2  # frames that may be lit after the input went low, but for the one in which it did


@pytest.mark.parametrize(('open_ephys', 'transport', 'bit'), [
    (True, 'v4l2', 0), (True, 'v4l2', 1), (True, 'usb', 1), (False, 'usb', 0)])
def test_the_light_follows_the_input(
    tmp_path: Path, open_ephys: bool, transport: str, bit: int,
) -> None:
    with capture(tmp_path, {'led': 60.0}, transport=transport, open_ephys=open_ephys,
                 image='lit', rate=30.0) as scope:
        box, ear = scope.box, scope.ear
        scope.acquisition.light_input = bit
        scope.start()
        raw = scope.source.controls['led'].raw(60.0)[0]
        ear.wait_frames(10)
        assert box.led == 0.0
        went_low = []
        for _ in range(3):
            box.trigger(1 << bit)
            box.wait(lambda: box.raw('led') == raw, PATIENCE)
            full = box.led
            ear.wait_frames(6)
            scope.source.set_value('focus', 5.0)
            went_low.append(box.frame)
            box.trigger(0)
            box.wait(lambda: box.led == 0.0, PATIENCE)
            scope.source.set_value('led', 60.0)  # sent when the input is high again
            ear.wait_frames(6)
            assert box.led == 0.0
        scope.acquisition.deactivate()
        records = {int(record['frame']): record for record in box.frames}
        changes: list[Change | None] = [
            c for c in ear.changes
            if c.event.control == 'led' and c.first_capture_index > 0]
        assert [c.event.value for c in changes if c] == 3 * [60.0, 0.0]
        changes.append(None)
        for change, following in pairwise(changes):
            assert change is not None
            until_ns = following.event.sent_ns if following else math.inf
            under = [records[one.number] for one in ear.frames
                     if one.frame.capture_index >= change.first_capture_index
                     # What is being sent when a frame ends may be executed at that end.
                     and records[one.number]['end_ns'] + SENDING < until_ns]
            assert under  # the first of them is wholly under the value, and so are all others
            for record in under:
                assert {record['light_start'][0], record['light_end'][0]} == {
                    full if change.event.value else 0.0}
        for number in went_low:
            # The level is read at a frame's end, and the box runs packets at the next one.
            assert records[number + WITHIN + 1]['light_start'][0] == 0.0
        # The scope has gone on: no frame is missing.
        assert [one.frame.loss.lost for one in ear.frames] == len(ear.frames) * [0]


def test_the_light_stays_dark_where_the_level_is_not_known(tmp_path: Path) -> None:
    with capture(tmp_path, image='lit') as scope:  # UCLA firmware over V4L2 tells no level
        scope.box.trigger(1)
        scope.acquisition.light_input = 0
        scope.start()
        scope.ear.wait_frames(20)
        assert not scope.box.frames['light_end'].any()
