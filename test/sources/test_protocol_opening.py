# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Opening a box in every condition that one may be found in; all are opened side by side."""
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
import errno
from threading import Thread
from typing import Any

from box_scope import BoxScope, FAST, packets
from miniscope_ros.errors import ConfigurationError, DeviceError, DeviceLost, Interrupted
from miniscope_ros.model import Light, Reason, SourceInfo, StampSource
import numpy as np
import pytest
from virtual_daq import Box, BoxConfig, Fault, VirtualDaq

DARK = packets('20 01 FF, 58 00 72 FF')
LIT = packets('20 01 00, 58 00 72 00')
SERDES = packets('C0 1F 10, B0 05 20')
CONTRAST, SATURATION = 0x00980901, 0x00980902


def nothing(one: BoxScope) -> None:
    """Leave it as it is."""


@dataclass
class Case:
    """A box, what happened to it before or happens meanwhile, what the user wants, and then."""

    box: Mapping[str, Any] = field(default_factory=dict)
    before: Callable[[Box], object] = nothing
    meanwhile: Callable[[BoxScope], object] | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    after: Callable[[BoxScope], Any] = nothing
    clean: bool = True  # whether the box has nothing to complain about


@dataclass
class Opened:
    """What came of it."""

    scope: BoxScope
    info: SourceInfo | None
    error: Exception | None
    led: float  # when it was open
    executed: list[bytes]
    result: Any = None

    @property
    def box(self) -> Box:
        return self.scope.box


def stop_after(count: int) -> Callable[[BoxScope], None]:
    """Return what ends the setting up after so many packets."""
    def stop(one: BoxScope) -> None:
        one.box.wait(lambda: one.box.state['executed'] >= count)
        one.stop.set()
    return stop


def change_meanwhile(one: BoxScope) -> None:
    """Set values when the first ones have been executed."""
    one.box.wait(lambda: one.box.raw('gain') == 225)
    one.source.set_value('gain', 3.5)
    one.source.set_value('focus', -20.0)


def exceed_the_ceiling(one: BoxScope) -> list[str]:
    """Try to light above max_led in all ways; return the errors."""
    errors = []
    one.source.set_value('led', 31.0)
    with pytest.raises(ConfigurationError) as error:
        one.pass_frames(1)
        one.source.activate(Reason.START)
    errors.append(str(error.value))
    one.source.set_value('led', 30.0)
    one.source.activate(Reason.START)
    one.source.set_value('led', 30.5)
    with pytest.raises(ConfigurationError) as error:
        one.pass_frames(3)
    return [*errors, str(error.value)]


def light_up(one: BoxScope) -> tuple[int, int]:
    """Activate and return under which light the first frame was taken."""
    one.source.activate(Reason.START)
    return one.lit_under(one.pass_frames(1)[0])


def use_open_ephys(one: BoxScope) -> dict[str, Any]:
    """Acquire with the sync output and both kinds of state; return what was seen."""
    one.source.activate(Reason.START)
    one.source.set_sync(True)
    one.box.trigger(2)
    edges = one.box.sync_toggles
    samples = []
    for _ in range(10):
        sample = one.read()
        samples.append(replace(sample, image=sample.image.copy()))
    edges = one.box.sync_toggles - edges
    one.source.set_sync(False)
    one.source.deactivate()
    return {'samples': samples, 'edges': edges, 'led': one.box.led}


def trigger_levels(one: BoxScope) -> list[int]:
    """Return what is read of the trigger input for the levels 1, 0, 1."""
    seen = []
    for level in (1, 0, 1):
        one.box.trigger(level)
        one.box.wait_frames(1)
        one.pass_frames(40)
        seen.append(max(one.read().digital_inputs for _ in range(5)))
    return seen


def recover_reading(one: BoxScope) -> bool:
    """Let reading work again and return whether that is used."""
    assert one.read().orientation is None
    one.box.refuse('read', 0)
    return any(one.read().orientation for _ in range(300))  # after a rest


BANK = np.random.default_rng(2).integers(0, 256, (5, 608, 608), np.uint8)
CASES = {
    'dead client': Case(
        {'light': 1.0}, lambda box: box.leave_packets(32 * LIT)),
    'dead client in sync': Case(
        before=lambda box: box.state.__setitem__('saturation', 1)),
    'slow rate left behind': Case(
        {'light': 1.0, 'rate': 0.0}, lambda box: box.leave_packets(packets('20 05 00 C9 C3 50'))),
    'half a packet left behind': Case(
        before=lambda box: (box.state['words'].__setitem__(0, 0x0120),
                            box.state.__setitem__('stage', 1)), clean=False),
    'needs SERDES': Case({'link': 'needs_serdes'}),
    'no link': Case({'link': 'none'}),
    'interface 0': Case({'interface_version': 0}),
    'interface 1': Case({'interface_version': 1}),
    'interface 2': Case({'interface_version': 2}),
    'interface 15': Case({'interface_version': 15}),
    'interface 16': Case({'interface_version': 16}),
    'old firmware': Case({'control_maximum': 255}),
    'no reading': Case(before=lambda box: box.refuse('read', errno.EIO), after=recover_reading),
    'no writing': Case(before=lambda box: box.refuse_writes(errno.EIO), clean=False),
    'set meanwhile': Case(meanwhile=change_meanwhile),
    'ceiling': Case(after=exceed_the_ceiling),
    'stop in SERDES': Case({'light': 1.0, 'rate': 60.0}, meanwhile=stop_after(1)),
    'stop in init': Case({'light': 1.0, 'rate': 60.0}, meanwhile=stop_after(6)),
    'stop in controls': Case({'light': 1.0, 'rate': 60.0}, meanwhile=stop_after(24)),
    'unplugged meanwhile': Case(meanwhile=lambda one: (
        one.box.wait(lambda: one.box.state['executed'] >= 6), one.box.unplug())),
    'bad first frames': Case({'light': 1.0}, lambda box: box.bad_at_start(3)),
    'damaged frames': Case(before=lambda box: box.always(Fault.ERROR_FLAG)),
    'bad stamps': Case(
        {'light': 1.0, 'rate': 30.0}, lambda box: box.always(Fault.STAMP_ZERO),
        values={'led': 50.0}, after=light_up),
    'no stamps': Case(
        before=lambda box: box.always(Fault.STAMP_NONE),
        after=lambda one: {one.read().stamp_source for _ in range(5)}),
    'Open Ephys': Case(
        {'open_ephys': True, 'light': 1.0, 'rate': 30.0, 'image': BANK, 'kernel': 'new_kernel'},
        values={'led': 20.0}, after=use_open_ephys),
    'trigger readable': Case({'kernel': 'fixed_firmware'}, after=trigger_levels),
    'trigger in the cache': Case({'kernel': 'old_kernel'}, after=trigger_levels),
}


def run_case(box: Box, case: Case) -> Opened:
    one = BoxScope(box, **case.values)
    if case is CASES['ceiling']:
        one = BoxScope(box, max_led=30.0)
    case.before(box)
    if case.meanwhile is not None:
        Thread(target=case.meanwhile, args=[one]).start()
    info = error = None
    try:
        info = one.open()
    except Exception as raised:
        error = raised
    opened = Opened(one, info, error, box.led, box.executed)
    try:
        if info is not None:
            opened.result = case.after(one)
    finally:
        one.source.close()
    return opened


@pytest.fixture(scope='module')
def all_opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Opened]]:
    """Try all cases at once."""
    configs = [BoxConfig(**{'rate': FAST / 4, **case.box}) for case in CASES.values()]
    with VirtualDaq(tmp_path_factory.mktemp('cases'), configs) as rig, \
            ThreadPoolExecutor(len(CASES)) as pool:
        results = pool.map(run_case, rig.boxes, CASES.values())
        yield dict(zip(CASES, results, strict=True))


@pytest.fixture
def opened(all_opened: dict[str, Opened], request: pytest.FixtureRequest) -> Opened:
    """Return what came of the case that a test is about; the protocol was kept in it."""
    opened = all_opened[request.param]
    if CASES[request.param].clean:
        opened.scope.assert_in_order()
    assert not opened.box.busy
    return opened


def about(*names: str) -> pytest.MarkDecorator:
    """Say which cases a test is about."""
    return pytest.mark.parametrize('opened', names, indirect=True)


@about('dead client', 'dead client in sync', 'slow rate left behind', 'interface 2',
       'half a packet left behind', 'bad first frames', 'needs SERDES', 'bad stamps')
def test_it_opens_and_is_dark(opened: Opened) -> None:
    assert opened.error is None
    assert opened.led == 0.0
    count = len(packets('C0 22 02')) * 11
    start = opened.executed.index(b'\xc0\x22\x02') + count
    assert opened.executed[start:start + 6] == 3 * DARK, 'first of all after the init list'


@about('dead client')
def test_packets_of_a_dead_client_run_before_ours(opened: Opened) -> None:
    assert opened.executed[:66] == 32 * LIT + SERDES


@about('dead client in sync')
def test_the_sync_output_of_a_dead_client_is_off_before_a_frame_ends(opened: Opened) -> None:
    assert opened.box.sync_toggles == 0


@about('slow rate left behind')
def test_a_slow_rate_left_behind_is_waited_for_and_replaced(opened: Opened) -> None:
    periods = np.diff(opened.box.frames['stamp_ns'][:6])
    assert max(periods) == pytest.approx(5e8, rel=0.01)
    assert opened.box.state['rate'] == 30.0


@about('half a packet left behind')
def test_half_a_packet_of_a_dead_client_is_thrown_away(opened: Opened) -> None:
    assert opened.executed[:2] == SERDES
    assert [fault.name for fault in opened.box.protocol_faults] == ['HALF']


@about('needs SERDES')
def test_a_link_that_needs_the_serdes_pair_comes_up(opened: Opened) -> None:
    assert opened.executed[:4] == SERDES + packets('C0 22 02, C0 20 0A')
    first = opened.box.packets[0]
    assert first['queued_ns'] - opened.box.writes['ns'][0] >= 2_000_000_000


@about('no link')
def test_no_link_is_an_error_of_its_own(opened: Opened) -> None:
    assert isinstance(opened.error, DeviceError)
    assert not isinstance(opened.error, DeviceLost)
    assert 'sends no frames: no link to the scope; check the coaxial cable' in str(opened.error)
    assert opened.executed == []
    assert opened.scope.source.light is Light.DARK
    contrast = opened.box.writes[opened.box.writes['control'] == CONTRAST]
    assert len(contrast) == 2, 'only one SERDES pair may be queued'


@pytest.mark.parametrize(('opened', 'firmware', 'warned'), [
    ('interface 0', 'UCLA', False),
    ('interface 1', 'UCLA interface 1', True),
    ('interface 2', 'UCLA interface 2', False),
    ('interface 15', 'UCLA interface 15', False),
    ('interface 16', 'UCLA', False)], indirect=['opened'])
def test_the_interface_version_is_asked_for_first(
        opened: Opened, firmware: str, warned: bool) -> None:
    assert opened.info is not None
    assert opened.info.firmware == firmware
    assert [('functions may be missing' in text) for text in opened.info.warnings] == [
        True] * warned
    asked = opened.box.writes[:2]
    assert asked['control'].tolist() == [SATURATION] * 2
    assert asked['value'].tolist() == [2, 0]


@about('old firmware')
def test_old_firmware_is_refused(opened: Opened) -> None:
    assert 'too old to be used: its CONTRAST control reaches 255, not 65535; update' in str(
        opened.error)
    assert len(opened.box.writes) == 0


@about('no reading')
def test_refused_reads_cost_the_readings_not_the_frames(opened: Opened) -> None:
    assert opened.info is not None
    assert opened.info.firmware == 'UCLA'
    assert opened.result


@about('no writing')
def test_refused_writes_are_an_error_that_says_what_to_do(opened: Opened) -> None:
    assert isinstance(opened.error, DeviceError)
    assert '3 times: the DAQ box takes no commands; check the USB cable' in str(opened.error)


@about('set meanwhile')
def test_what_is_set_meanwhile_is_in_force(opened: Opened) -> None:
    assert opened.executed[-4:] == packets('EE 08 6B 02, 20 05 00 CC 00 24') + DARK


@about('ceiling')
def test_no_way_leads_above_the_ceiling(opened: Opened) -> None:
    assert opened.result == ['led 31 is above max_led 30; not sent',
                             'led 30.5 is above max_led 30; not sent']
    assert opened.box.frames['light_end'].max() == pytest.approx(0.3, abs=0.003)
    assert opened.box.led == 0.0


@about('stop in SERDES', 'stop in init', 'stop in controls')
def test_a_stop_ends_it_at_once_and_in_the_dark(opened: Opened) -> None:
    assert isinstance(opened.error, Interrupted)
    assert opened.led == 0.0
    assert opened.scope.source.light is Light.DARK
    controls = packets('EE 08 7F 02')[0]
    sent = opened.executed
    before = sent[:sent.index(controls)] if controls in sent else sent
    assert before[-6:] == 3 * DARK, 'it was lit, and is not any more'


@about('unplugged meanwhile')
def test_a_box_that_goes_meanwhile_is_lost(opened: Opened) -> None:
    assert isinstance(opened.error, DeviceLost)


@about('damaged frames')
def test_a_scope_that_sends_damaged_frames_only_is_not_used(opened: Opened) -> None:
    assert isinstance(opened.error, DeviceError)
    assert 'only damaged ones: check device_type and the cables' in str(opened.error)


@about('bad stamps')
def test_bad_stamps_do_not_mix_light(opened: Opened) -> None:
    assert opened.result == (128, 128)


@about('no stamps')
def test_a_driver_without_stamps_is_no_driver_with_bad_ones(opened: Opened) -> None:
    assert opened.result == {StampSource.ARRIVAL}


@about('Open Ephys')
def test_open_ephys_takes_commands_through_its_extension_unit(opened: Opened) -> None:
    assert opened.info is not None
    assert opened.info.firmware == 'Open Ephys 1.1.0'
    assert opened.info.card.startswith('UCLA/Open Ephys Miniscope DAQ')
    assert set(opened.box.writes['control'] >> 16) == {1}, 'nothing goes by the old controls'
    assert opened.executed[:4] == SERDES + packets('C0 22 02, C0 20 0A')
    assert b'\x20\x01\xcc' in opened.box.executed
    assert opened.led == opened.result['led'] == 0.0
    assert 10 <= opened.result['edges'] <= 12


@about('Open Ephys')
def test_open_ephys_tells_its_state_in_the_pixels_and_y_is_unchanged(opened: Opened) -> None:
    frames = opened.box.frames
    samples = opened.result['samples']
    counts = [sample.device_count for sample in samples]
    assert counts == list(range(counts[0], counts[0] + len(counts)))
    for sample in samples:
        record = frames[np.flatnonzero(frames['counter'] == sample.device_count)[-1]]
        assert np.array_equal(sample.image, opened.box.expected_grey(record))
        assert sample.orientation == tuple(record['quaternion'])
        assert sample.device_count_bits == 32
        elapsed_ns = record['stamp_ns'] - opened.box.state['power_on_ns']
        assert sample.device_time_ms == elapsed_ns // 1_000_000
    assert samples[-1].digital_inputs == 2


@pytest.mark.parametrize(('opened', 'levels'), [
    ('trigger readable', [-1, -1, -1]), ('trigger in the cache', [-1, -1, -1])],
    indirect=['opened'])
def test_the_trigger_is_told_only_where_it_can_be_read(
        opened: Opened, levels: list[int]) -> None:
    assert opened.result == levels


def test_a_program_that_is_to_end_opens_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    with VirtualDaq(tmp_path_factory.mktemp('stopped')) as rig:
        one = BoxScope(rig.box)
        one.stop.set()
        with pytest.raises(Interrupted):
            one.open()
        assert not rig.box.busy
