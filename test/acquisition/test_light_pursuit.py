# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A box that is lost while lit goes dark when it is back, whatever else is wanted of it."""
from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from capturing import Capture, Ear, PATIENCE
from miniscope_ros.acquisition import light_guard
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.model import Light, LIGHT_MAY_BE_ON
import pytest
from virtual_daq import BoxConfig, VirtualDaq

RESERVE = 9


@pytest.fixture(scope='module')
def reserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Capture]]:
    """Open an acquisition for each test at once."""
    # A scope that gets power again shows its light at once: it is made dark by commands only.
    configs = [BoxConfig(rate=60.0, light=1.0, port=f'{bus}-{bus}')
               for bus in range(1, RESERVE + 1)]
    with VirtualDaq(tmp_path_factory.mktemp('pursuit'), configs) as rig:
        all_of_them = [Capture(rig, {'led': 50.0}, box=box) for box in rig.boxes]
        with ThreadPoolExecutor(len(all_of_them)) as pool:
            list(pool.map(lambda one: one.acquisition.open(), all_of_them))
        yield all_of_them
        for one in all_of_them:
            one.acquisition.close()


@pytest.fixture
def lit(reserve: list[Capture]) -> Iterator[Capture]:
    """Return an acquisition that runs with its light on."""
    one = reserve.pop()
    one.acquisition.activate()
    one.ear.wait_frames(2)
    assert one.box.led > 0.4
    assert one.status.light is one.acquisition.light is Light.LIT
    yield one
    one.acquisition.close()
    one.acquisition.end_pursuit()


def wait_dark(one: Capture) -> None:
    """Return when the box has its light off and is not in use, and this is known."""
    one.box.wait(lambda: one.acquisition.light is Light.DARK, PATIENCE)
    one.box.wait(lambda: not one.box.busy, PATIENCE)
    assert one.box.led == 0.0


def test_without_reconnection_a_box_that_comes_back_goes_dark(lit: Capture) -> None:
    lit.acquisition.reconnect = False
    lit.box.unplug(seconds=1.0)
    lit.ear.wait(lambda: lit.ear.stops, 'the acquisition stopped by itself')
    lit.acquisition.deactivate()  # as the node does when it is told
    assert lit.status.light is Light.UNCONFIRMED
    wait_dark(lit)
    assert lit.status.state == 'failed'
    lit.ear.wait(lambda: lit.ear.changes[-1].event.value == 0.0, 'the dark light is reported')


def test_reconnection_switched_off_in_an_outage(lit: Capture) -> None:
    lit.box.unplug()
    lit.wait_lost()
    lit.acquisition.reconnect = False
    lit.ear.wait(lambda: lit.ear.stops, 'the acquisition stopped by itself')
    lit.box.plug()
    wait_dark(lit)
    assert lit.status.state == 'failed'
    lit.acquisition.activate()  # it can be used again
    lit.ear.wait_frames(2)
    assert lit.box.led > 0.4


def test_cleanup_in_an_outage(lit: Capture, caplog: pytest.LogCaptureFixture) -> None:
    lit.box.unplug(seconds=4.0)
    lit.wait_lost()
    lit.acquisition.close()
    assert lit.status.state == 'closed'
    assert caplog.text.count(LIGHT_MAY_BE_ON) == 1
    assert lit.acquisition.light is Light.UNCONFIRMED
    assert light_guard.possibly_lit()
    wait_dark(lit)
    assert not light_guard.possibly_lit()


def test_cleanup_in_an_outage_and_another_configuration(
        lit: Capture, caplog: pytest.LogCaptureFixture) -> None:
    lit.box.unplug()
    lit.wait_lost()
    lit.acquisition.close()
    # As the node does, with everything made anew.
    other = Capture(lit.rig, {'led': 50.0}, box=lit.box)
    lit.box.plug()
    other.start()
    other.ear.wait_frames(2)
    assert lit.box.led > 0.4
    assert not light_guard.possibly_lit(), 'the new one looks after the light'
    streams = lit.box.state['streams']
    other.ear.wait_frames(60)  # longer than the old one would wait before it looks again
    assert lit.box.state['streams'] == streams
    assert 'in use' not in caplog.text
    other.acquisition.close()
    assert lit.box.led == 0.0


def test_the_same_engine_is_opened_again_in_an_outage(lit: Capture) -> None:
    lit.box.unplug()
    lit.wait_lost()
    lit.acquisition.close()
    lit.box.plug()
    lit.start()
    lit.ear.wait_frames(2)
    lit.acquisition.close()
    assert lit.box.led == 0.0
    assert lit.acquisition.light is Light.DARK


def test_after_an_error_that_nobody_has_foreseen(lit: Capture) -> None:
    def fail(frame: Frame) -> None:
        lit.box.unplug(seconds=1.0)
        raise ZeroDivisionError('what nobody has foreseen')

    lit.ear.at_frame = fail
    lit.ear.wait(lambda: lit.ear.stops, 'the acquisition stopped by itself')
    lit.acquisition.deactivate()
    wait_dark(lit)
    assert lit.status.state == 'failed'


def test_deactivated_in_an_outage_with_reconnection_switched_off(lit: Capture) -> None:
    lit.box.unplug()
    lit.wait_lost()
    lit.acquisition.deactivate()
    lit.acquisition.reconnect = False
    lit.box.wait(lambda: lit.status.state == 'failed', PATIENCE)
    lit.box.plug()
    wait_dark(lit)


def test_a_box_that_refuses_everything_for_a_while(
        lit: Capture, caplog: pytest.LogCaptureFixture) -> None:
    lit.acquisition.reconnect = False
    lit.box.refuse_writes(5)
    lit.source.set_value('focus', 10.0)
    lit.ear.wait(lambda: lit.ear.stops, 'the acquisition stopped by itself')
    assert lit.box.led > 0.4
    assert caplog.text.count(LIGHT_MAY_BE_ON) == 1
    lit.box.refuse_writes(0)
    wait_dark(lit)


def test_a_listener_that_fails_does_not_end_the_pursuit(lit: Capture) -> None:
    class Deaf(Ear):
        def on_stopped(self) -> None:
            super().on_stopped()
            raise RuntimeError('cannot be told')

    lit.ear.__class__ = Deaf
    lit.acquisition.reconnect = False
    lit.box.unplug(seconds=1.0)
    lit.ear.wait(lambda: lit.ear.stops, 'the acquisition stopped by itself')
    wait_dark(lit)
