# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A scope that is open: light, changes, the sync output, readings, and what comes loose."""
from collections.abc import Iterator
import errno
from threading import Thread
import time

from box_scope import BoxScope, frame_number, open_all, packets
from hypothesis import given, settings
from hypothesis import strategies as st
from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.model import Light, Reason
import numpy as np
import pytest
from virtual_daq import BoxConfig, pacing_violations, VirtualDaq

RATE = 60.0
DARK = packets('20 01 FF, 58 00 72 FF')
LED_50 = packets('20 01 80, 58 00 72 80')
RESERVE = 21  # scopes opened side by side, one for each test


@pytest.fixture(scope='module')
def reserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[BoxScope]]:
    """Open a scope for each test at once."""
    configs = [
        BoxConfig(rate=RATE, image='lit', kernel='fixed_firmware', reset_time=0.2,
                  port=f'{bus}-{bus}')  # USB devices count anew on each bus
        for bus in range(1, RESERVE + 1)]
    with VirtualDaq(tmp_path_factory.mktemp('reserve'), configs) as rig:
        scopes = [BoxScope(box) for box in rig.boxes]
        open_all(scopes)
        yield scopes
        for one in scopes:
            one.source.close()


@pytest.fixture
def one(reserve: list[BoxScope]) -> Iterator[BoxScope]:
    """Return a scope that is open and dark; after the test it must be closed and dark."""
    one = reserve.pop()
    while one.source.waiting():  # what piled up in the ring
        one.read()
    yield one
    one.source.close()
    assert not one.box.busy
    assert one.box.led == 0.0
    assert pacing_violations(one.box.writes) == []


def lit(one: BoxScope, led: float = 50.0) -> int:
    """Activate; return how many packets were executed until then."""
    one.source.set_value('led', led)
    one.source.activate(Reason.START)
    one.pass_frames(1)
    return len(one.box.executed)


# ---- activation


def test_no_frame_after_activation_is_mixed_or_lit_otherwise(one: BoxScope) -> None:
    one.source.set_value('led', 50.0)
    for _ in range(5):
        seen = len(one.discarded)
        one.source.activate(Reason.START)
        assert len(one.discarded) - seen >= 3
        for frame in one.pass_frames(4):
            assert one.lit_under(frame) == (128, 128)
            assert one.record(frame)['level'] == round(8 + 60 * (255 - 128) / 255)
        one.source.deactivate()
        assert one.box.led == 0.0


def test_activation_lights_last(one: BoxScope) -> None:
    before = len(one.box.executed)
    lit(one)
    sent = one.box.executed[before:]
    assert sent[-2:] == LED_50
    assert sent[:-2] == packets('EE 08 7F 02, 20 05 00 CC 00 E1, 20 05 00 C9 0C E4')


def test_sync_edges_are_those_of_the_published_frames(one: BoxScope) -> None:
    box = one.box
    box.state['jitter_ns'] = 2_000_000
    for unread in (0, 1, 7):
        one.source.activate(Reason.START)
        box.wait_frames(unread)  # others keep the computer busy
        before = box.sync_toggles
        one.source.set_sync(True)
        first = one.pass_frames(1)[0]
        one.pass_frames(5)
        box.wait_frames(unread)
        seen = len(one.discarded)
        one.source.set_sync(False)
        last = ([frame_number(f.image) for f in one.discarded[seen:]] or [first + 5])[-1]
        box.wait_frames(2)
        frames = box.frames
        edges = frames['frame'][frames['sync'] >= before]
        assert list(edges) == list(range(first, last + 1))
        one.source.deactivate()
    one.assert_in_order()


def test_a_late_sync_output_is_told(one: BoxScope, caplog: pytest.LogCaptureFixture) -> None:
    one.box.state['control_ns'] = 40_000_000  # a bus that is slow
    one.source.set_sync(True)
    one.box.state['control_ns'] = 0
    assert 'over half a period' in caplog.text


# ---- changes


def test_the_newest_of_many_values_wins(one: BoxScope) -> None:
    before = lit(one)
    for value in range(1, 100):
        one.source.set_value('led', float(value))
        one.source.set_value('focus', float(value))
    one.run_pending()
    assert one.box.executed[before:] == packets('20 01 03, 58 00 72 03, EE 08 E2 02')
    assert [(e.control, e.value) for e in one.events if e.reason is Reason.USER] == [
        ('led', 99.0), ('focus', 99.0)]


def test_a_wish_for_darkness_is_never_merged_away(one: BoxScope) -> None:
    before = lit(one)
    for value in (40.0, 0.0, 60.0, 80.0):
        one.source.set_value('led', value)
    one.run_pending()
    assert one.box.executed[before:] == DARK + packets('20 01 33, 58 00 72 33')
    before = len(one.box.executed)
    one.source.set_value('led', 0.0)
    one.source.set_value('led', 50.0)
    one.source.reinitialise_head_stage()
    one.run_pending()
    assert one.box.executed[before:before + 4] == DARK + LED_50


def test_a_light_set_while_dark_waits_for_activation(one: BoxScope) -> None:
    before = len(one.box.executed)
    one.source.set_value('led', 70.0)
    one.run_pending()
    assert one.box.executed[before:] == []
    assert one.box.led == 0.0
    one.source.activate(Reason.START)
    one.pass_frames(1)
    assert one.box.raw('led') == 76


VALUES = st.one_of(
    st.tuples(st.just('led'), st.sampled_from([0.0, 0.4, 33.3, 100.0])),
    st.tuples(st.just('focus'), st.integers(-127, 127).map(float)),
    st.tuples(st.just('gain'), st.sampled_from([1.0, 2.0, 3.5])))
BURSTS = st.lists(st.lists(VALUES, max_size=6), max_size=4)


def test_any_series_of_changes_ends_in_the_last_ones(one: BoxScope) -> None:
    one.box.set_rate(300.0)
    lit(one)

    @given(BURSTS)
    @settings(max_examples=50, deadline=None, database=None)
    def check(bursts: list[list[tuple[str, float]]]) -> None:
        before = len(one.box.executed)
        expected = []
        for burst in bursts:
            kept: list[tuple[str, float]] = []
            for name, value in burst:
                one.source.set_value(name, value)
                kept = [(n, v) for n, v in kept if n != name or (n, v) == ('led', 0.0)]
                kept.append((name, value))
            one.read()
            expected += [p for name, value in kept for p in one.control(name).packets(value)]
        one.run_pending()
        assert one.box.executed[before:] == expected
        for name, value in {n: v for burst in bursts for n, v in burst}.items():
            assert one.box.raw(name) == one.control(name).raw(value)[0]

    check()
    one.assert_in_order()


def test_the_boxs_queue_is_never_overfilled(one: BoxScope) -> None:
    one.box.set_rate(3.0)
    for _ in range(6):
        one.source.reinitialise_head_stage()
    one.box.wait_frames(2)
    assert 16 < one.box.state['queued_most'] <= 40
    one.assert_in_order()


def test_frames_that_wait_in_the_ring_prove_nothing(one: BoxScope) -> None:
    for _ in range(4):
        one.box.wait_frames(8)
        one.source.reinitialise_head_stage()
    assert one.box.state['queued_most'] <= 40
    one.box.wait_frames(8)
    seen = len(one.discarded)
    one.source.activate(Reason.START)
    assert len(one.discarded) - seen > 8


# ---- refused writes


def test_a_refused_write_is_tried_again_as_a_whole_packet(one: BoxScope) -> None:
    before = lit(one)
    one.box.refuse_writes(errno.EIO, 2)
    one.source.set_value('focus', 10.0)
    one.source.set_value('gain', 2.0)
    one.run_pending()
    assert one.box.executed[before:] == packets('EE 08 89 02, 20 05 00 CC 00 E4')


def test_a_refused_word_within_a_packet_does_not_spoil_it(one: BoxScope) -> None:
    box = one.box
    before = len(box.executed)

    def refuse() -> None:
        for _ in range(10):
            box.wait(lambda: box.state['stage'])
            box.refuse_writes(errno.EPROTO, 1)
            seen = box.state['executed']
            box.wait(lambda seen=seen: box.state['executed'] > seen)

    thread = Thread(target=refuse)
    thread.start()
    for value in range(40):
        one.source.set_value('focus', float(value))
        one.read()
    while thread.is_alive():
        one.source.set_value('focus', float(value))
        one.read()
    one.run_pending()
    refused = box.writes[box.writes['error'] != 0]
    assert len(refused) > 0
    assert all(p[:2] == b'\xee\x08' and len(p) == 4 for p in box.executed[before:])
    assert box.raw('focus') == 127 + 39


def test_writes_refused_for_good_are_an_error_that_says_what_to_do(one: BoxScope) -> None:
    lit(one)
    one.box.refuse_writes(errno.EIO)
    one.source.set_value('focus', 10.0)
    with pytest.raises(DeviceError, match='3 times: the DAQ box takes no commands') as error:
        one.pass_frames(3)
    assert not isinstance(error.value, DeviceLost)
    one.source.close()
    assert one.source.light is Light.UNCONFIRMED, 'nothing could be sent'
    one.box.refuse_writes(0)
    one.source.make_dark()
    assert one.source.light is Light.DARK


# ---- losing the box, and its return


def test_after_a_replug_everything_is_sent_again_with_the_newest_values(one: BoxScope) -> None:
    lit(one, 20.0)
    box = one.box
    first = box.executed
    number = 100 + int(box.state['number'])
    box.unplug(seconds=0.2, number=number)
    with pytest.raises(DeviceLost):
        one.pass_frames(100)
    one.source.close()
    one.source.set_value('gain', 2.0)
    one.source.set_value('led', 25.0)
    box.wait(lambda: box.present)
    before = len(box.executed)
    assert one.open(Reason.RESUME).path == f'/dev/video{number}'
    one.source.activate(Reason.RESUME)
    was = packets('20 05 00 CC 00 E1, 20 01 CC, 58 00 72 CC')
    now = packets('20 05 00 CC 00 E4, 20 01 BF, 58 00 72 BF')
    replaced = dict(zip(was, now, strict=True))
    assert box.executed[before:] == [replaced.get(packet, packet) for packet in first]
    assert one.lit_under(one.pass_frames(1)[0]) == (0xBF, 0xBF)
    assert {event.reason for event in one.events[-9:]} == {Reason.RESUME}


def test_hard_reset_goes_by_packet_while_frames_flow(one: BoxScope) -> None:
    one.source.hard_reset()
    with pytest.raises(DeviceLost):
        one.pass_frames(3)
    one.source.close()
    assert one.box.executed[-1] == b'\xfe\x01'
    one.box.wait(lambda: one.box.present)
    one.open(Reason.RESUME)
    one.pass_frames(1)


def test_hard_reset_goes_by_the_usb_port_where_no_frames_flow(one: BoxScope) -> None:
    box = one.box
    box.freeze()
    one.source.hard_reset()  # finds out by itself that the packet is not executed
    one.source.close()
    assert b'\xfe\x01' not in box.executed
    box.wait(lambda: box.present and not box.state['frozen'])
    # Also while it is not open, as after a freeze that was noticed.
    box.freeze()
    one.source.hard_reset()
    box.wait(lambda: box.present and not box.state['frozen'])


def test_hard_reset_names_the_missing_permission(one: BoxScope) -> None:
    one.box.freeze()
    one.box.refuse('reset', errno.EACCES)
    with pytest.raises(DeviceError, match='no permission to open /dev/bus/usb/.*udev rule'):
        one.source.hard_reset()


def test_a_freeze_is_noticed(one: BoxScope) -> None:
    one.box.freeze()
    start = time.monotonic()
    with pytest.raises(DeviceLost, match='frozen or unplugged'):
        one.pass_frames(1000)
    assert time.monotonic() - start > 0.9, 'too early: some frames may be late'


def test_closing_never_raises(one: BoxScope) -> None:
    lit(one)
    one.box.refuse_writes(errno.EIO)
    one.source.close()
    assert not one.box.busy
    assert one.source.light is Light.UNCONFIRMED
    one.box.refuse_writes(0)
    one.source.make_dark()
    assert one.source.light is Light.DARK


# ---- readings


def test_readings_belong_to_their_frames(one: BoxScope) -> None:
    samples = [(frame_number(sample.image), sample.orientation, sample.device_count)
               for sample in (one.read() for _ in range(30))]
    told = [sample for sample in samples if sample[1] is not None]
    assert len(told) >= 10
    for frame, quaternion, count in told:
        record = one.record(frame)
        assert quaternion == tuple(record['quaternion'])
        assert count == record['counter'] & 0xFFFF


def test_a_reading_that_comes_too_late_is_given_to_no_frame(one: BoxScope) -> None:
    for _ in range(3):
        one.box.wait_frames(6)
        assert one.read().orientation is None
        one.pass_frames(8)
    assert np.isnan(one.read().device_time_ms)
