# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The light follows a digital input: dark while it is low, wholly lit from a known frame on."""
from __future__ import annotations

from itertools import pairwise
import math
from pathlib import Path

from capturing import Capture, capture, Ear, PATIENCE
from miniscope_ros.acquisition.events import Change
from miniscope_ros.model import Reason
import pytest
from slowness import waited_s
from virtual_daq import Status as Fate

RATE = 30.0  # [frames/s]
SILENCE = 0.2  # [s] without a frame that looks like a restart of the head stage in the dark


@pytest.mark.parametrize(('open_ephys', 'transport', 'bit'), [
    (True, 'v4l2', 0), (True, 'v4l2', 1), (True, 'usb', 1), (False, 'usb', 0)])
def test_the_light_follows_the_input(
    tmp_path: Path, open_ephys: bool, transport: str, bit: int,
) -> None:
    with capture(tmp_path, {'led': 60.0}, transport=transport, open_ephys=open_ephys,
                 image='lit', rate=RATE) as scope:
        box, ear = scope.box, scope.ear
        waited = waited_s()
        scope.acquisition.light_input = bit
        scope.start()
        raw = scope.source.controls['led'].raw(60.0)[0]
        ear.wait_frames(10)
        assert box.led == 0.0
        for _ in range(3):
            box.trigger(1 << bit)
            box.wait(lambda: box.raw('led') == raw, PATIENCE)
            wait_until_under(ear, 60.0)
            full = box.led
            scope.source.set_value('focus', 5.0)
            box.trigger(0)
            box.wait(lambda: box.led == 0.0, PATIENCE)
            scope.source.set_value('led', 60.0)  # sent when the input is high again
            wait_until_under(ear, 0.0)
            assert box.led == 0.0
        scope.acquisition.deactivate()
        waited = waited_s() - waited
        assert scope.status.restarts == 0 or waited > SILENCE
        records = {int(record['frame']): record for record in box.frames}
        changes: list[Change | None] = [
            c for c in ear.changes
            if c.event.control == 'led' and c.event.reason in (Reason.USER, Reason.RESUME)]
        of_trigger = [c for c in changes if c and c.event.reason is Reason.USER]
        assert [c.event.value for c in of_trigger] == 3 * [60.0, 0.0]
        changes.append(None)
        for change, following in pairwise(changes):
            assert change is not None
            if change.first_capture_index < 0:  # another one followed before a frame was under it
                continue
            until = executed_at(scope, change, following) if following else math.inf
            under = [records[one.number] for one in ear.frames
                     if one.frame.capture_index >= change.first_capture_index
                     and one.number <= until]
            # The first of them is wholly under the value, and so are all others.
            assert under or scope.status.restarts
            for record in under:
                assert {record['light_start'][0], record['light_end'][0]} == {
                    full if change.event.value else 0.0}
        # A level is answered before another frame is taken, and the box runs packets at the end of
        # the frame in which they come: neither depends on how late a thread is.
        for low, change in zip(first_low(ear, bit), of_trigger[1::2], strict=True):
            samples = [one.frame.sample for one in ear.frames[low:low + 2]]
            assert samples[0].receive_ns <= change.event.sent_ns <= samples[1].receive_ns
        # The scope has gone on. What the box could deliver is published, and all else is reported.
        numbers = [one.number for one in ear.frames]
        assert numbers == [number for number in range(numbers[0], numbers[-1] + 1)
                           if records[number]['status'] == Fate.DELIVERED]
        missing = [after - before - 1 for before, after in pairwise(numbers)]
        lost = [one.frame.loss.lost for one in ear.frames[1:]]
        if transport == 'v4l2':
            assert lost == missing
        else:  # times of arrival that are late by a period look like a loss, or hide one
            assert waited > 1 / RATE or sum(lost) == sum(missing)


def wait_until_under(ear: Ear, value: float) -> None:
    """Return when a frame was told that is under this value of the LED, the last one sent."""
    def is_under() -> bool:
        last = next(c for c in reversed(ear.changes) if c.event.control == 'led')
        return last.event.value == value and bool(ear.frames) and (
            0 <= last.first_capture_index <= ear.frames[-1].frame.capture_index)
    ear.wait(is_under, f'a frame is under LED {value}')


def executed_at(scope: Capture, change: Change, following: Change) -> int:
    """Return at the end of which of its frames the box first ran what followed a value."""
    anew = following.event.reason is Reason.RESUME  # after the init list, which is no event
    packets = scope.source.controls['led'].packets(following.event.value)
    return min(
        int(record['frame']) for record, packet in zip(
            scope.box.packets, scope.box.executed, strict=True)
        if (anew or packet in packets)
        and change.event.sent_ns < record['queued_ns'] <= following.event.sent_ns)


def first_low(ear: Ear, bit: int) -> list[int]:
    """Return the places of the frames with which the input was first read as low again."""
    known = [(place, bool(one.frame.sample.digital_inputs >> bit & 1))
             for place, one in enumerate(ear.frames) if one.frame.sample.digital_inputs >= 0]
    return [place for (_, before), (place, high) in pairwise(known) if before and not high]


def test_the_light_stays_dark_where_the_level_is_not_known(tmp_path: Path) -> None:
    with capture(tmp_path, image='lit') as scope:  # UCLA firmware over V4L2 tells no level
        scope.box.trigger(1)
        scope.acquisition.light_input = 0
        scope.start()
        scope.ear.wait_frames(20)
        assert not scope.box.frames['light_end'].any()
