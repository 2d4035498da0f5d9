# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Errors of our own end an acquisition in the dark, and the thread outlives them."""
from __future__ import annotations

from pathlib import Path
import threading
from threading import Event, Thread

from capturing import Capture, capture, Ear, FAST, PATIENCE
from miniscope_ros.acquisition.frame_accounting import Frame
import pytest
from virtual_daq import BoxConfig, VirtualDaq


def test_an_error_in_the_capture_thread_ends_the_acquisition_in_the_dark(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(frame: Frame) -> None:
        raise ZeroDivisionError('what nobody has foreseen')

    with capture(tmp_path) as scope:
        scope.start()
        scope.ear.wait_frames(5)
        assert scope.box.led > 0
        scope.ear.at_frame = fail
        scope.ear.wait(lambda: scope.ear.stops, 'the acquisition stopped by itself')
        assert scope.box.led == 0.0 and not scope.status.may_be_lit
        assert scope.status.state == 'failed'
        assert scope.status.error == 'ZeroDivisionError: what nobody has foreseen'
        assert any(record.exc_info for record in caplog.records)
        scope.acquisition.deactivate()  # as the node does when it is told
        scope.ear.at_frame = lambda frame: None
        scope.acquisition.activate()
        scope.ear.wait_frames(5)
        assert (scope.status.state, scope.ear.stops) == ('active', 1)


def test_a_transition_at_the_moment_of_a_stop_neither_hangs_nor_fails(tmp_path: Path) -> None:
    def fail(frame: Frame) -> None:
        failing.set()
        asked.wait(PATIENCE)
        raise ZeroDivisionError

    before = threading.enumerate()
    with capture(tmp_path) as scope:
        for transition in (scope.acquisition.deactivate, scope.acquisition.close):
            failing, asked = Event(), Event()
            scope.ear.at_frame = lambda frame: None
            if scope.status.state == 'closed':
                scope.acquisition.open()
            scope.acquisition.activate()
            scope.ear.at_frame = fail
            assert failing.wait(PATIENCE)
            thread = Thread(target=transition)
            thread.start()
            asked.set()
            thread.join(PATIENCE)
            assert not thread.is_alive()
            assert scope.status.state in ('failed', 'closed')
        assert scope.ear.stops == 2
        # An earlier test may have left one that pursues a device which never comes back.
        assert 'capture' not in [
            thread.name for thread in threading.enumerate() if thread not in before]


def test_the_thread_outlives_a_listener_that_always_fails(tmp_path: Path) -> None:
    class Deaf(Ear):
        def on_stopped(self) -> None:
            super().on_stopped()
            raise RuntimeError('cannot be told')

    def fail(frame: Frame) -> None:
        raise RuntimeError('cannot be told')

    with VirtualDaq(tmp_path, [BoxConfig(rate=FAST)]) as rig:
        scope = Capture(rig, {}, ear=Deaf())
        scope.start()
        scope.ear.at_frame = fail
        scope.ear.wait(lambda: scope.ear.stops, 'the acquisition stopped by itself')
        scope.acquisition.deactivate()
        scope.acquisition.close()
        assert rig.box.led == 0.0
