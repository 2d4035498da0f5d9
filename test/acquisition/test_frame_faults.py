# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What frames of a virtual DAQ box can be, and what is said of each."""
from __future__ import annotations

from pathlib import Path

from capturing import capture, check_account, DAMAGE
from miniscope_ros.model import ReadingStatus, StampSource
import pytest
from virtual_daq import Fault
from virtual_daq import Status as Fate


def test_what_is_damaged_before_the_first_frame_costs_nothing(tmp_path: Path) -> None:
    with capture(tmp_path) as scope:
        scope.acquisition.open()
        for _ in range(5):
            begin, edges = scope.box.frame + 2, scope.box.sync_toggles
            scope.box.plan({begin + 2 * n: Fault.ERROR_FLAG for n in range(50)})
            scope.acquisition.activate()
            scope.ear.wait_frames(5)
            told = scope.ear.frames[:5]
            check_account(told, scope.box)
            # What was lost before the first frame came after the sync output was switched on.
            first = told[0].frame
            edge = next(r['sync'] for r in scope.box.frames if r['frame'] == told[0].number)
            assert first.loss.lost == first.loss.damaged == first.sync_edge == edge - edges
            scope.acquisition.deactivate()


def test_every_fault_of_a_frame_one_by_one(tmp_path: Path) -> None:
    faults = [fault for fault in Fault
              if fault not in (Fault.FREEZE, Fault.UNPLUG, Fault.TRANSFER)]
    rate = 60.0  # a busy computer is rarely late by most of such a period
    # The readings are part of this box's frames.
    with capture(tmp_path, open_ephys=True, rate=rate) as scope:
        scope.start()
        begin = scope.box.frame + 5
        # Each alone, then three in a row.
        places = {begin + 12 * n + m: fault
                  for n, fault in enumerate(faults) for m in (0, 5, 6, 7)}
        scope.box.plan(places)
        scope.box.wait_frames(12 * len(faults) + 10)
        scope.acquisition.deactivate()
        told = {one.number: one for one in scope.ear.frames}
        check_account(scope.ear.frames, scope.box, 1e9 / rate)
        assert scope.status.losses.damaged == 4 * 3 == scope.status.damaged
        truth = {int(record['frame']): record for record in scope.box.frames}
        predicted = [one for one in scope.ear.frames if one.stamp_source is StampSource.PREDICTED]
        stamps = Fault.STAMP_ZERO | Fault.STAMP_BACK | Fault.STAMP_FAR | Fault.STAMP_NONE
        bad = sum(place in told for place, fault in places.items() if fault & stamps)
        assert scope.status.bad_stamps == len(predicted) >= bad > 0
        # On a computer that is late a guess may be so, too, even later than the next real stamp.
        late_ns = [one.frame.sample.receive_ns - truth[one.number]['end_ns']
                   for one in scope.ear.frames]
        for place, one in enumerate(scope.ear.frames):
            error_ns = abs(one.stamp_ns - truth[one.number]['stamp_ns'])
            assert error_ns < max(0.5e9 / rate, *late_ns[max(0, place - 2):place + 1])
        for place, fault in places.items():
            if fault in (Fault.QUAT_BAD, Fault.QUAT_ZERO) and place in told:
                assert told[place].frame.reading_status is ReadingStatus.INVALID
            assert (place in told) == (fault & (DAMAGE | Fault.LOST | Fault.UNFINISHED) == 0) or (
                truth[place]['status'] == Fate.NO_BUFFER)


@pytest.mark.parametrize('rate, value', [
    (300.0, 30.0), pytest.param(3.0, 5.0, marks=pytest.mark.soak)])
def test_slow_and_fast_scopes(tmp_path: Path, rate: float, value: float) -> None:
    with capture(tmp_path, {'frame_rate': value}, rate=rate) as scope:
        scope.start()
        begin = scope.box.frame + 3
        scope.box.plan({begin: Fault.LOST, begin + 2: Fault.UNFINISHED})
        scope.box.wait_frames(12)
        scope.acquisition.deactivate()
        assert check_account(scope.ear.frames, scope.box, 1e9 / rate) >= 2
