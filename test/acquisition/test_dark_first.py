# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Going dark waits for nothing: LED dark is the first thing sent, however slow readings are."""
from __future__ import annotations

from collections.abc import Callable
import errno
from pathlib import Path
import time
from typing import Any

from box_scope import packets
from capturing import Capture, capture
from miniscope_ros.model import Light
import pytest
from virtual_daq import Fault

DARK = packets('20 01 FF, 58 00 72 FF')
CONTRAST, SATURATION = 0x00980901, 0x00980902
PROMISE_S = 0.5


def lateness_s(one: Capture, since_ns: int) -> float:
    """Return how late this computer was with the box's own frames since then, at most."""
    frames = one.box.frames
    frames = frames[(frames['end_ns'] >= since_ns) & (frames['ready_ns'] > 0)]
    return float((frames['ready_ns'] - frames['end_ns']).max(initial=0)) / 1e9


def dark_after(one: Capture, stop: Callable[[], Any]) -> float:
    """Stop, and return after how long the box had executed LED dark, late frames allowed for."""
    before = len(one.box.packets)
    asked_ns = time.monotonic_ns()
    stop()
    assert one.box.led == 0.0
    ran = one.box.packets[before:]
    first = next(packet for packet, data in zip(ran, one.box.executed[before:], strict=True)
                 if data == DARK[0])
    return (first['ns'] - asked_ns) / 1e9 - lateness_s(one, asked_ns)


@pytest.mark.parametrize('reading_s', [0.0, 0.012, 0.04, 0.1])
def test_it_is_dark_at_once_however_slow_readings_are(tmp_path: Path, reading_s: float) -> None:
    # fixed_firmware: all readings go to the device, none is dropped for standing still.
    with capture(tmp_path, {'led': 50.0}, rate=30.0, kernel='fixed_firmware') as one:
        one.acquisition.open()
        one.box.state['read_ns'] = round(reading_s * 1e9)
        for stop in (one.acquisition.deactivate, one.acquisition.close):
            if one.status.state == 'closed':
                one.acquisition.open()
            one.acquisition.activate()
            one.ear.wait_frames(3)
            assert dark_after(one, stop) < PROMISE_S


@pytest.mark.parametrize('error', [errno.EIO, errno.ETIMEDOUT])
def test_it_is_dark_at_once_though_every_reading_fails(tmp_path: Path, error: int) -> None:
    with capture(tmp_path, {'led': 50.0}, rate=30.0, kernel='fixed_firmware') as one:
        one.acquisition.open()
        one.box.refuse('read', error)
        one.box.state['read_ns'] = 1_000_000_000 * (error == errno.ETIMEDOUT)
        one.acquisition.activate()
        one.ear.wait_frames(3)
        assert dark_after(one, one.acquisition.deactivate) < PROMISE_S


def test_it_is_dark_at_once_though_frames_pile_up(tmp_path: Path) -> None:
    with capture(tmp_path, {'led': 50.0}, rate=30.0) as one:
        one.start()
        one.ear.at_frame = lambda frame: time.sleep(0.05)  # a listener that is too slow
        one.ear.wait_frames(20)
        assert dark_after(one, one.acquisition.deactivate) < PROMISE_S


def test_it_is_dark_at_once_though_all_frames_are_damaged(tmp_path: Path) -> None:
    with capture(tmp_path, {'led': 50.0}, rate=30.0) as one:
        one.start()
        one.ear.wait_frames(3)
        one.box.always(Fault.ERROR_FLAG)

        def stop() -> None:
            one.acquisition.deactivate()
            one.box.always(Fault.NONE)

        # None of its frames proves it, but the box has executed it.
        assert dark_after(one, stop) < PROMISE_S
        one.box.wait(lambda: one.acquisition.light is Light.DARK, 20.0)


def test_led_dark_is_the_first_thing_sent_at_every_end(tmp_path: Path) -> None:
    with capture(tmp_path, {'led': 50.0}, rate=60.0) as one:
        one.acquisition.open()
        for stop in (one.acquisition.deactivate, one.acquisition.close):
            one.acquisition.activate()
            one.ear.wait_frames(3)
            executed, written = len(one.box.executed), len(one.box.writes)
            asked_ns = time.monotonic_ns()
            stop()
            ran = one.box.packets[executed:executed + 6]
            assert one.box.executed[executed:executed + 6] == 3 * DARK
            sync_off = next(
                write['ns'] for write in one.box.writes[written:]
                if write['control'] == SATURATION)
            assert ran['queued_ns'][0] < sync_off
            # Each at the end of another frame, and none at the same time after a frame's end.
            ends = {int(frame['frame']): frame for frame in one.box.frames}
            assert len(set(ran['frame'][1::2])) == 3
            if lateness_s(one, asked_ns) > 0.004:
                continue  # a computer that was late cannot show when it sent
            after_ms = [
                (packet['queued_ns'] - ends[int(packet['frame']) - 1]['ready_ns']) / 1e6
                for packet in ran[2::2]]
            assert after_ms[0] >= 4 and after_ms[1] >= 1000 / 60 / 3 - 0.1, after_ms


def test_the_last_frame_is_whole_and_has_the_last_edge(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with capture(tmp_path, {'led': 50.0}, rate=60.0, image='lit') as one:
        one.acquisition.open()
        for _ in range(8):
            before = one.box.sync_toggles
            one.acquisition.activate()
            one.ear.wait_frames(3)
            one.acquisition.deactivate()
            frames = one.ear.frames
            if 'over half a period' in caplog.text:  # a computer that was late, and said so
                caplog.clear()
                continue
            assert one.box.sync_toggles - before == frames[-1].frame.sync_edge + 1
            records = {int(record['frame']): record for record in one.box.frames}
            for told in frames:
                assert records[told.number]['light_start'][0] == pytest.approx(0.5, abs=0.01)
                assert records[told.number]['light_end'][0] == pytest.approx(0.5, abs=0.01)
            stopped = [c for c in one.ear.changes if c.event.reason.name == 'STOP']
            assert {change.first_capture_index for change in stopped} == {-1}
