# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the virtual DAQ box does with packets, and its light."""
from __future__ import annotations

import glob
import os
import signal
import sys

from box_client import Connect, FAST, MakeRig, raised, WORDS
from miniscope_ros.transports import v4l2_controls as controls
import numpy as np
import pytest
import virtual_daq
from virtual_daq import Fault, pacing_violations, Protocol, scope
import yaml

TYPES = list(yaml.safe_load(scope.CATALOG.read_text()))


def test_golden_words_become_the_packets_of_the_facts(
        make_rig: MakeRig, connect: Connect) -> None:
    golden = {
        'C0 1F 10': (0x03C0, 0x101F, 0x0000), 'AA 01 02 03 04': (0x05AA, 0x0201, 0x0403),
        'B0 05 20 11 22 33': (0x05B1, 0x1120, 0x3322),
        '20 05 00 CC 00 E4': (0x0521, 0xCC00, 0xE400), 'FE 00': (0x02FE, 0, 0)}
    rig = make_rig()
    client = connect(rig)
    for words in golden.values():
        for control, word in zip(WORDS, words, strict=True):
            client.write(control, word)
    assert rig.box.executed == []  # nothing runs while nothing streams
    client.start().frame()
    assert rig.box.executed == [bytes.fromhex(packet) for packet in golden]
    assert set(rig.box.packets['frame']) == {0}
    assert rig.box.state['polling'] == 1
    assert rig.box.protocol_faults == []
    assert rig.box.writes['control'].tolist() == list(WORDS) * 5
    assert pacing_violations(rig.box.writes)  # this client made no pauses


def test_pacing_is_judged(make_rig: MakeRig) -> None:
    writes = np.zeros(30, virtual_daq.build.layouts()['writes'])
    writes['control'] = list(WORDS) * 10
    rests = 10_000_000 * (np.arange(30) // 12)
    writes['ns'] = 128_000 * np.arange(30) + rests
    assert pacing_violations(writes) == []
    writes['ns'][17:] -= 1
    assert len(pacing_violations(writes)) == 1
    writes['ns'] = 128_000 * np.arange(30)
    assert len(pacing_violations(writes)) == 16  # every word from the fifth packet's last on


def test_protocol_faults_are_recorded(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig)
    client.write(controls.GAMMA, 1)
    client.write(controls.CONTRAST, 0x03C0)
    client.write(controls.CONTRAST, 0x02FE)
    client.write(controls.GAMMA, 0)
    client.write(controls.SHARPNESS, 0)
    for control in WORDS:
        client.write(control, 0)
    for control, word in zip(WORDS, (0x0720, 0, 0), strict=True):
        client.write(control, word)
    assert rig.box.protocol_faults == [
        Protocol.ORDER, Protocol.HALF, Protocol.EMPTY, Protocol.LENGTH]
    client.start().frame()
    assert rig.box.executed[0] == bytes.fromhex('FE00')


def test_the_queue_holds_64_packets(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig)
    client.send(*(f'AA {n:02X}' for n in range(64)))
    assert rig.box.protocol_faults == [] and rig.box.state['queued'] == 64
    client.send(*(f'AA {n:02X}' for n in range(64, 70)))
    assert rig.box.protocol_faults == 6 * [Protocol.OVERFLOW]
    client.start().frame()
    assert [packet[1] for packet in rig.box.executed] == [
        *range(64, 70), *range(6, 64), *range(64, 70)]


def test_packets_run_at_the_end_of_finished_frames_only(
        make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig).start()
    client.frame()
    start = rig.box.frame + 2
    rig.box.plan(dict.fromkeys(range(start, start + 20), Fault.UNFINISHED))
    rig.box.wait(lambda: rig.box.frame > start)
    client.send('EE 08 7F 02')
    rig.box.wait(lambda: len(rig.box.packets))
    assert rig.box.packets[0]['frame'] == start + 20
    assert rig.box.raw('focus') == 0x7F and rig.box.registers[0xEE, 8] == b'\x7f\x02'


@pytest.mark.parametrize('device_type', TYPES)
def test_every_types_controls_reach_their_registers(
        make_rig: MakeRig, connect: Connect, device_type: str) -> None:
    rig = make_rig(device_type=device_type, rate=0)
    rig.box.state['start_rate'] = FAST
    width, height = rig.box.scope['size']
    client = connect(rig).start(width, height, count=2)
    for name, control in rig.box.scope['controls'].items():
        if 'choices' in control:
            tried = [(v, raw, second) for raw, second, v in scope.choices(control)]
        else:
            tried = [(v, scope.raw_value(control, v), -1) for v in (0, 50, 100)]
        for value, raw, second in reversed(tried):
            parts = {str(k): f'{raw >> 8 * k & 255:02X}' for k in range(4)}
            parts |= {f'b{k}': f'{second >> 8 * k & 255:02X}' for k in range(2)}
            rig.box.leave_packets(
                bytes.fromhex(''.join(parts.get(word.strip('{}'), word) if '{' in word else word
                                      for word in packet.split()))
                for packet in control['packets'])
            rig.box.wait(lambda: rig.box.state['queued'] == 0)
            rig.box.wait_frames(1)  # seen from outside, the end of a frame takes a while
            assert rig.box.raw(name) == raw
            if name.startswith('led'):
                light = rig.box.led if name == 'led' else rig.box.led2
                span = control['max'] - control['min']
                assert light == pytest.approx(value / span, abs=0.02)
            elif name == 'frame_rate':
                assert rig.box.state['rate'] == value
                rig.box.set_rate(FAST)
            elif name == 'gain':
                assert rig.box.state['gain'] == value
    client.stop()


def test_the_rate_follows_its_register(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(rate=0, rate_factor=19.76 / 20)
    client = connect(rig)
    client.send('20 05 00 C9 13 88')
    client.start()
    for _ in range(6):
        client.frame()
    periods = np.diff(rig.box.frames['stamp_ns'])
    assert abs(periods[0] - 1e9 / (30 * 0.988)) < 1000
    assert abs(periods[3] - 1e9 / 19.76) < 1000


def test_light_is_mixed_in_the_next_frame_and_full_in_the_second(
        make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(image='lit')
    client = connect(rig).start()
    client.frame()
    client.send('20 01 00', '58 00 72 00')
    images = [client.frame()[1] for _ in range(12)]
    at = int(rig.box.packets[-1]['frame'])
    by_number = {int(image[:16:2].copy().view('<u8')[0]): image for image in images}
    levels = [int(by_number[at + after][16]) for after in (0, 1, 2, 3)]
    assert levels == [8, 38, 68, 68]
    records = rig.box.frames[at:at + 4]
    assert records['light_start'][:, 0].tolist() == [0, 0, 1, 1]
    assert records['light_end'][:, 0].tolist() == [0, 1, 1, 1]
    assert records['level'].tolist() == levels
    client.send('20 05 00 CC 24 00')  # gain 3.5: raw 36 is 0x24, low byte last
    rig.box.wait(lambda: rig.box.state['queued'] == 0)
    assert rig.box.state['gain'] != 3.5
    client.send('20 05 00 CC 00 24')
    rig.box.wait(lambda: rig.box.state['gain'] == 3.5)


def test_the_darker_of_enable_and_current_counts(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig).start()
    client.send('20 01 00', '58 00 72 00')
    rig.box.wait(lambda: rig.box.led == 1.0)
    client.send('20 01 FF')
    rig.box.wait(lambda: rig.box.led == 0.0)


def test_power_on_is_dark_and_forgets_registers(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig).start()
    client.send('20 01 00', '58 00 72 00', 'EE 08 10 02')
    rig.box.wait(lambda: rig.box.raw('focus') == 16)
    rig.box.reset()
    assert rig.box.led == 1.0 and rig.box.raw('focus') == 16  # the scope kept its power
    rig.box.plug()
    assert rig.box.led == 0.0 and rig.box.raw('focus') == -1


CLIENT = """
import sys, time
sys.path[:0] = {path!r}
from box_client import Client
client = Client('/dev/video0').start()
client.send('20 01 00', '58 00 72 00')
while True:
    client.frame()
"""


def test_state_outlives_a_killed_client(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    child = rig.popen('-c', CLIENT.format(path=sys.path))
    rig.box.wait(lambda: rig.box.led == 1.0)
    assert rig.box.streaming
    client = connect(rig)
    assert raised(lambda: client.format(608, 608)) == 'EBUSY'
    holders = [os.readlink(entry) for entry in glob.glob(f'/proc/{child.pid}/fd/*')]
    assert '/dev/video0' in holders
    # Kill it in the middle of a packet, with another one waiting.
    os.kill(child.pid, signal.SIGSTOP)
    client.send('EE 08 20 02')
    client.write(controls.CONTRAST, 0x03C0)
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    assert not rig.box.busy and not rig.box.streaming
    assert rig.box.led == 1.0
    before = rig.box.frame
    client.start().frame()
    rig.box.wait(lambda: rig.box.raw('focus') == 32)
    packet = rig.box.packets[-1]
    assert before <= packet['frame'] <= before + 1
    client.send('20 01 FF')
    rig.box.wait(lambda: rig.box.led == 0.0)
    assert rig.box.protocol_faults == [Protocol.HALF]


def test_many_killed_clients(make_rig: MakeRig) -> None:
    rig = make_rig()
    for count in range(1, 6):
        child = rig.popen('-c', CLIENT.format(path=sys.path))
        rig.box.wait(lambda count=count: rig.box.state['streams'] == count)
        rig.box.wait_frames(count)
        child.kill()
        child.wait(10)
        assert not rig.box.streaming
