# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the driver makes every type of scope do, as its box sees it."""
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from box_scope import BoxScope, CATALOGUE, frame_number, packets, scope, values_to_try
from miniscope_ros.daq.control import Control
from miniscope_ros.model import ControlEvent, Reason
import numpy as np
import pytest
from virtual_daq import BoxConfig, VirtualDaq
from virtual_daq.scope import choices, raw_value

TYPES = list(CATALOGUE)
AT_ONCE = 4  # types; one box of the largest keeps a core busy
LIT = 20.0

# Hand-written from the published device configurations: SERDES (sent twice where the pixel clock
# is above 50 MHz), init list, LED dark,
# the controls in the dark, those that are sent once more, and what activation with LIT sends.
GOLDEN = {
    'Miniscope_V4_BNO': (
        'C0 1F 10, B0 05 20',
        'C0 22 02, C0 20 0A, C0 07 B0, B0 0F 02, B0 1E 0A, C0 08 20 EE A0 50, C0 10 20 EE 58 50,'
        '50 41 09 05, 50 3D 0C, FE 00, EE 03 03',
        '20 01 FF, 58 00 72 FF',
        'EE 08 7F 02, 20 05 00 CC 00 E1, 20 05 00 C9 0C E4, 20 01 FF, 58 00 72 FF',
        'EE 08 7F 02, 20 05 00 CC 00 E1, 20 01 FF, 58 00 72 FF',
        'EE 08 7F 02, 20 05 00 CC 00 E1, 20 05 00 C9 0C E4, 20 01 CC, 58 00 72 CC'),
    'Miniscope_V3': (
        'C0 1F 10, B0 05 20',
        'C0 22 02, C0 20 0A, C0 07 B0, B0 0F 02, B0 1E 0A, C0 08 B8 98, C0 10 B8 98,'
        'B8 0C 00 01, B8 AF 00 00',
        '98 00 00',
        'B8 35 00 10, B8 05 00 5E 02 21, B8 0B 03 E8, 98 00 00',
        'B8 35 00 10, 98 00 00',
        'B8 35 00 10, B8 05 00 5E 02 21, B8 0B 03 E8, 98 01 40'),
    'Miniscope_V4_2C_Manual': (
        'C0 1F 10, B0 05 20',
        'C0 22 02, C0 20 0A, C0 07 B0, B0 0F 02, B0 1E 0A, C0 08 20 EE A0 50, C0 10 20 EE 58 50,'
        '50 41 09 05, 50 3D 0C, FE 00, EE 03 03, 20 04 03',
        '20 01 FF, 58 00 FF, 20 02 FF, 58 01 FF',
        'EE 08 7F 02, 20 05 00 CC 00 E1, 20 05 00 C9 13 88, 20 01 FF, 58 00 FF, 20 02 FF,'
        '58 01 FF',
        'EE 08 7F 02, 20 05 00 CC 00 E1, 20 01 FF, 58 00 FF, 20 02 FF, 58 01 FF',
        'EE 08 7F 02, 20 05 00 CC 00 E1, 20 05 00 C9 13 88, 20 01 CC, 58 00 CC, 20 02 CC,'
        '58 01 CC'),
    'MiniLFOV_Bin2x_Sum': (
        'C0 1F 11, B0 05 21',
        'C0 0D 99, C0 22 02, C0 20 0A, C0 07 B0, B0 0F 02, B0 1E 0A, C0 08 BA EE A0 50,'
        'C0 10 BA EE 58 50, 50 41 09 05, 50 3D 0C, FE 00, EE 03 03, BA 22 00 11, BA 23 00 11,'
        'BA 20 00 20, BA 09 04 00',
        '58 00 FF FF',
        'EE 08 7F 02, BA 35 00 08, BA 09 04 24, 58 00 FF FF',
        'EE 08 7F 02, BA 35 00 08, 58 00 FF FF',
        'EE 08 7F 02, BA 35 00 08, BA 09 04 24, 58 00 CC CC'),
}


@dataclass
class Session:
    """What one type's scope was made to do, from opening to closing."""

    scope: BoxScope
    opened: int  # packets executed at the end of each step
    activated: int
    deactivated: int
    registers: dict[tuple[str, float], tuple[int, int]]  # by control and value set
    images: list[np.ndarray]
    events: list[ControlEvent]

    @property
    def executed(self) -> list[bytes]:
        return self.scope.box.executed


def run_session(one: BoxScope) -> Session:
    box, controls = one.box, one.type.controls
    marks, registers, images = [], {}, []
    with scope(box, **{light.name: LIT for light in one.type.lights}) as one:
        one.open()
        marks.append(len(box.executed))
        one.source.activate(Reason.START)
        marks.append(len(box.executed))
        images = [one.read().image.copy() for _ in range(3)]
        for name, control in controls.items():
            if name == 'frame_rate':
                continue
            for value in values_to_try(control):
                one.source.set_value(name, value)
                one.run_pending()
                place = ('led', 'led2', 'focus', 'gain').index(name)
                registers[name, value] = box.raw(name), int(box.state['second'][place])
        for light in one.type.lights:
            one.source.set_value(light.name, LIT)
        one.run_pending()
        before = len(box.executed)
        one.source.deactivate()
        marks.append(before)
        # Frame rates are set in the dark; they change how fast the box is.
        for value in rates_to_try(controls['frame_rate']):
            one.source.set_value('frame_rate', value)
            one.run_pending()
            registers['frame_rate', value] = box.raw('frame_rate'), int(box.state['second'][4])
    return Session(one, *marks, registers, images, one.events)


@pytest.fixture(scope='module')
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Session]]:
    """Run every type, several at a time, each on a box of its own."""
    folder: Path = tmp_path_factory.mktemp('types')
    rate: dict[str, Any] = {'rate': 60.0}
    configs = [BoxConfig(name, image='ramp', light=1.0, **rate) for name in TYPES]
    with VirtualDaq(folder, configs) as rig, ThreadPoolExecutor(AT_ONCE) as pool:
        results = pool.map(run_session, map(BoxScope, rig.boxes))
        yield dict(zip(TYPES, results, strict=True))


def parts(session: Session) -> tuple[list[bytes], list[bytes], list[bytes], list[bytes]]:
    """Return what was executed during opening, activation, changes, and from deactivation on."""
    executed = session.executed
    return (executed[:session.opened], executed[session.opened:session.activated],
            executed[session.activated:session.deactivated], executed[session.deactivated:])


def pairs(name: str) -> int:
    """Return how often a type's SERDES pair is sent."""
    return 2 if CATALOGUE[name].pixel_clock > 50 else 1


def rates_to_try(control: Control) -> list[float]:
    """Return the frame rates of a type that the box can stand: periods up to 390 ms."""
    return [rate for rate in values_to_try(control) if 1 / rate <= 0.39]


@pytest.mark.parametrize('name', GOLDEN)
def test_packets_are_those_of_the_golden_lists(
        sessions: dict[str, Session], name: str) -> None:
    serdes, init, dark, controls, again, lit = map(packets, GOLDEN[name])
    opening, activation, _, rest = parts(sessions[name])
    assert opening == pairs(name) * serdes + init + 3 * dark + controls + again
    assert activation == lit
    assert rest[:3 * len(dark)] == 3 * dark


@pytest.mark.parametrize('name', TYPES)
def test_packets_are_serdes_init_list_and_controls_and_nothing_else(
        sessions: dict[str, Session], name: str) -> None:
    session = sessions[name]
    device_type = CATALOGUE[name]
    fast = device_type.pixel_clock > 50
    serdes = packets('C0 1F 11, B0 05 21' if fast else 'C0 1F 10, B0 05 20')
    others = [control for control in device_type.controls.values()
              if control not in device_type.lights]

    def sent(lit: bool, rate: bool = True) -> list[bytes]:
        lines = [p for c in others for p in c.packets(c.start) if rate or c.name != 'frame_rate']
        return lines + [
            p for light in device_type.lights for p in light.packets(LIT if lit else 0.0)]

    dark = [p for light in device_type.lights for p in light.packets(0.0)]
    opening, activation, changes, rest = parts(session)
    assert opening == (
        pairs(name) * serdes + list(device_type.init) + 3 * dark + sent(False)
        + sent(False, rate=False))
    assert activation == sent(True)
    steps = [(c, v) for c in device_type.controls.values() if c.name != 'frame_rate'
             for v in values_to_try(c)] + [(light, LIT) for light in device_type.lights]
    assert changes == [p for control, value in steps for p in control.packets(value)]
    rates = device_type.controls['frame_rate']
    assert rest == 3 * dark + [p for v in rates_to_try(rates) for p in rates.packets(v)]


@pytest.mark.parametrize('name', TYPES)
def test_every_value_puts_its_number_into_the_register(
        sessions: dict[str, Session], name: str) -> None:
    session = sessions[name]
    description = session.scope.box.scope['controls']
    for (control, value), found in session.registers.items():
        if 'choices' in description[control]:
            numbers = {v: (raw, second) for raw, second, v in choices(description[control])}
            assert found == numbers[value], (control, value)
        else:
            assert found == (raw_value(description[control], value), -1), (control, value)
    assert {control for control, _ in session.registers} == set(description)


@pytest.mark.parametrize('name', TYPES)
def test_the_image_is_the_sensors_bytes(sessions: dict[str, Session], name: str) -> None:
    session = sessions[name]
    width, height = session.scope.box.scope['size']
    for image in session.images:
        assert image.shape == (height, width)
        record = session.scope.record(frame_number(image))
        assert np.array_equal(image, session.scope.box.expected_grey(record))
        assert set(image[1:].flat) == set(range(256))


@pytest.mark.parametrize('name', TYPES)
def test_pauses_last_long_enough_and_see_frames(
        sessions: dict[str, Session], name: str) -> None:
    ran = sessions[name].scope.box.packets
    device_type = CATALOGUE[name]
    light = sum(len(light.templates) for light in device_type.lights)
    every = sum(len(control.templates) for control in device_type.controls.values())
    init = 2 * pairs(name)
    first = init + len(device_type.init) + 3 * light
    again = first + every
    for pair, following in ((pair, pair + 2) for pair in range(0, init, 2)):
        assert ran['queued_ns'][following] - ran['queued_ns'][pair + 1] >= 400_000_000
        assert ran['frame'][following] - ran['frame'][pair + 1] >= 2
    assert ran['queued_ns'][again] - ran['queued_ns'][again - 1] >= 1_000_000_000
    assert ran['queued_ns'][again] - ran['queued_ns'][again - 1] < 2_000_000_000
    frames = sessions[name].scope.box.frames
    assert ran['queued_ns'][0] > frames['ready_ns'][frames['ready_ns'] > 0][0]
    darkened = ran['frame'][init + len(device_type.init):first:light]
    assert len(set(darkened)) == 3, 'LED dark was not sent at three frame ends'


@pytest.mark.parametrize('name', TYPES)
def test_events_tell_of_every_value_with_its_reason(
        sessions: dict[str, Session], name: str) -> None:
    session = sessions[name]
    device_type = CATALOGUE[name]
    lights = [light.name for light in device_type.lights]
    others = [control for control in device_type.controls if control not in lights]
    told = [event.control for event in session.events if event.reason is Reason.START]
    without_rate = [control for control in others if control != 'frame_rate']
    assert told == (
        lights + others + lights + without_rate + lights + others + lights)
    assert [e.control for e in session.events if e.reason is Reason.STOP] == lights
    changed = {(e.control, e.value): e.raw for e in session.events if e.reason is Reason.USER}
    expected = {place: first for place, (first, _) in session.registers.items()}
    assert {place: changed[place] for place in expected} == expected


@pytest.mark.parametrize('name', TYPES)
def test_it_is_dark_until_activation_and_after(sessions: dict[str, Session], name: str) -> None:
    session = sessions[name]
    box = session.scope.box
    ran = box.packets
    init = 2 * pairs(name) + len(CATALOGUE[name].init)
    lit = ran['frame'][session.opened]  # at the end of this frame activation began
    frames = box.frames
    waiting = frames[(frames['frame'] > ran['frame'][init] + 1) & (frames['frame'] < lit)]
    assert len(waiting) > 10
    assert not waiting['light_start'].any()
    assert not waiting['light_end'].any()
    assert (box.led, box.led2) == (0.0, 0.0)
