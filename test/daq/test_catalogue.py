# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The device types of the package and those of a user's file."""

import copy
from importlib import resources
import math
import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from miniscope_ros.daq.catalogue import load_catalogue, SIZES
from miniscope_ros.daq.packets import encode
from miniscope_ros.errors import ConfigurationError, DeviceError
import pytest
import yaml

CATALOGUE = load_catalogue()
DATA = yaml.safe_load(
    resources.files('miniscope_ros.daq').joinpath('device_types.yaml').read_text())
CONTROLS = [(name, key) for name, entry in DATA.items() for key in entry['controls']]

untimed = settings(deadline=None, max_examples=50)  # reading YAML is slow

V4_INIT = """
C0 22 02, C0 20 0A, C0 07 B0, B0 0F 02, B0 1E 0A, C0 08 20 EE A0 50, C0 10 20 EE 58 50,
50 41 09 05, 50 3D 0C, FE 00, EE 03 03"""
V3_INIT = """
C0 22 02, C0 20 0A, C0 07 B0, B0 0F 02, B0 1E 0A, C0 08 B8 98, C0 10 B8 98, B8 0C 00 01,
B8 AF 00 00"""
LFOV_INIT = """
C0 22 02, C0 20 0A, C0 07 B0, B0 0F 02, B0 1E 0A, C0 08 BA EE A0, C0 10 BA EE 58, EE 03 03,
BA 22 00 00, BA 23 00 00, BA 09 06 00"""

# Worked out by hand from the published commands.
GOLDEN = """
Miniscope_V4_BNO        led          0  20 01 FF, 58 00 72 FF
Miniscope_V4_BNO        led         20  20 01 CC, 58 00 72 CC
Miniscope_V4_BNO        led         50  20 01 80, 58 00 72 80
Miniscope_V4_BNO        led       99.8  20 01 01, 58 00 72 01
Miniscope_V4_BNO        led        100  20 01 00, 58 00 72 00
Miniscope_V4_BNO        focus     -127  EE 08 00 02
Miniscope_V4_BNO        focus        0  EE 08 7F 02
Miniscope_V4_BNO        focus      127  EE 08 FE 02
Miniscope_V4_BNO        gain         1  20 05 00 CC 00 E1
Miniscope_V4_BNO        gain         2  20 05 00 CC 00 E4
Miniscope_V4_BNO        gain       3.5  20 05 00 CC 00 24
Miniscope_V4_BNO        frame_rate   2  20 05 00 C9 C3 50
Miniscope_V4_BNO        frame_rate  30  20 05 00 C9 0C E4
Miniscope_V4            frame_rate  20  20 05 00 C9 13 88
Miniscope_V3            led          0  98 00 00
Miniscope_V3            led          1  98 00 10
Miniscope_V3            led        255  98 0F F0
Miniscope_V3            gain         4  B8 35 00 40
Miniscope_V3            frame_rate  10  B8 05 02 EE 04 E2, B8 0B 06 B8
Miniscope_V3            frame_rate  20  B8 05 03 66 01 41, B8 0B 03 20
Miniscope_V3            frame_rate  60  B8 05 00 5D 00 21, B8 0B 01 F4
Siminiscope_1024X768    led         20  6C A0 06
Siminiscope_1024X768    led        100  6C A0 1F
Siminiscope_1024X768    gain        32  BA 35 18 60
Siminiscope_1024X768    frame_rate  50  BA 09 02 FE
Miniscope_V4_2C_Manual  led         20  20 01 CC, 58 00 CC
Miniscope_V4_2C_Manual  led2        20  20 02 CC, 58 01 CC
Minicam-Mono-XGA        frame_rate  20  BA 09 07 6C
MiniLFOV_1024X768       frame_rate  10  BA 09 08 00
MiniLFOV_Bin2x_Avg      led         20  58 00 CC CC
MiniLFOV_Bin2x_Avg      frame_rate  20  BA 09 04 90
MiniLFOV_Bin2x_Sum      gain       128  BA 35 38 32
MiniLFOV_Skip2x         gain         4  BA 35 00 20
MiniLFOV_Skip2x         frame_rate  30  BA 09 04 00
MiniLFOV_800X800        frame_rate  20  BA 09 01 E0
MiniLFOV_800X800_skip   frame_rate  20  BA 09 01 A0
MiniLFOV_800X800_full   frame_rate  15  BA 09 03 84
MiniLFOV_1000X1000_full frame_rate  30  BA 09 04 B0
MiniLFOV_FullReso       frame_rate  12  BA 09 06 00
"""


def packets_of(text):
    return [bytes.fromhex(packet) for packet in text.split(',')]


def expected_packets(entry, value):
    """Evaluate an entry of the file by its own description, as text."""
    if 'choices' in entry:
        raw = entry['choices'][value]
    else:
        raw = round(value * entry.get('scale', 1) - entry.get('offset', 0))
        raw *= 2 ** entry.get('shift', 0)
    words = raw if isinstance(raw, list) else [raw]
    fields = {}
    for letter, word in zip(('', 'b')[:len(words)], words, strict=True):
        for k, byte in enumerate(word.to_bytes(4, 'little')):
            fields[f'{{{letter}{k}}}'] = f'{byte:02X}'
    result = []
    for text in entry['packets']:
        for field, byte in fields.items():
            text = text.replace(field, byte)
        result.append(bytes.fromhex(text))
    return result


def some_values(entry):
    if 'choices' in entry:
        return list(entry['choices'])
    low, high = entry['min'], entry['max']
    return [low, low + 0.1, (low + high) / 2, high - 0.1, high, entry['start']]


def test_all_fifteen_types_are_there():
    assert {name: (t.width, t.height, t.pixel_clock, t.orientation, t.dark, ' '.join(t.controls),
                   t.controls['frame_rate'].start) for name, t in CATALOGUE.items()} == {
        'Miniscope_V4_BNO':
            (608, 608, 16.6, True, 'full', 'led focus gain frame_rate', 30),
        'Miniscope_V4':
            (608, 608, 16.6, False, 'full', 'led focus gain frame_rate', 30),
        'Miniscope_V3':
            (752, 480, 26, False, 'residual', 'led gain frame_rate', 30),
        'Siminiscope_1024X768':
            (1024, 768, 96, False, 'unknown', 'led gain frame_rate', 40),
        'Miniscope_V4_2C_Manual':
            (608, 608, 16.6, True, 'full', 'led led2 focus gain frame_rate', 20),
        'Minicam-Mono-XGA':
            (1024, 768, 96, False, 'unknown', 'led gain frame_rate', 47),
        'MiniLFOV_1024X768':
            (1024, 768, 96, False, 'unknown', 'led gain frame_rate', 40),
        'MiniLFOV_Bin2x_Avg':
            (1296, 972, 66.67, True, 'unknown', 'led focus gain frame_rate', 20),
        'MiniLFOV_Bin2x_Sum':
            (1296, 972, 66.67, True, 'unknown', 'led focus gain frame_rate', 22),
        'MiniLFOV_Skip2x':
            (1296, 972, 66.67, True, 'unknown', 'led focus gain frame_rate', 30),
        'MiniLFOV_800X800':
            (800, 800, 24, True, 'unknown', 'led focus gain frame_rate', 20),
        'MiniLFOV_800X800_skip':
            (800, 800, 24, True, 'unknown', 'led focus gain frame_rate', 20),
        'MiniLFOV_800X800_full':
            (800, 800, 66.67, True, 'unknown', 'led focus gain frame_rate', 20),
        'MiniLFOV_1000X1000_full':
            (1000, 1000, 66.67, True, 'unknown', 'led focus gain frame_rate', 20),
        'MiniLFOV_FullReso':
            (2592, 1944, 66.67, False, 'unknown', 'led focus gain frame_rate', 14),
    }


@pytest.mark.parametrize('line', GOLDEN.strip().splitlines())
def test_golden_control_packets(line):
    name, key, value, packets = line.split(maxsplit=3)
    assert CATALOGUE[name].controls[key].packets(float(value)) == packets_of(packets)


@pytest.mark.parametrize('name, packets', [
    ('Miniscope_V4_BNO', V4_INIT), ('Miniscope_V4_2C_Manual', V4_INIT + ', 20 04 03'),
    ('Miniscope_V3', V3_INIT), ('MiniLFOV_FullReso', LFOV_INIT)])
def test_golden_init_lists(name, packets):
    assert list(CATALOGUE[name].init) == packets_of(packets)


@pytest.mark.parametrize('name', DATA)
def test_every_init_list_can_be_sent(name):
    assert list(CATALOGUE[name].init) == [bytes.fromhex(text) for text in DATA[name]['init']]
    assert all(any(encode(packet)) for packet in CATALOGUE[name].init)


@pytest.mark.parametrize('name, key', CONTROLS)
def test_packets_of_every_control_as_the_file_describes_them(name, key):
    entry, control = DATA[name]['controls'][key], CATALOGUE[name].controls[key]
    for value in some_values(entry):
        assert control.packets(value) == expected_packets(entry, value)


@pytest.mark.parametrize('name, key', CONTROLS)
def test_executed_packets_tell_the_raw_value(name, key):
    control = CATALOGUE[name].controls[key]
    others = [other for other in CATALOGUE[name].controls.values() if other is not control]
    raw = control.raw(control.start)
    for value in some_values(DATA[name]['controls'][key]):
        for packet in control.packets(value):
            raw = control.after(raw, packet)
            assert raw is not None
            assert all(other.after(other.raw(other.start), packet) is None for other in others)
        assert raw == control.raw(value)
        assert control.raw(control.value_of_raw(raw)) == raw


def test_a_raw_value_is_put_together_from_several_packets():
    rate = CATALOGUE['Miniscope_V3'].controls['frame_rate']
    first, second = rate.packets(20)
    assert rate.after((0x11223344, 0x5566), first) == (57016641, 0x5566)
    assert rate.after((57016641, 0x5566), second) == (57016641, 800)
    assert rate.after((0, 0), second[:-1]) is None
    assert rate.value_of_raw((57016641, 0x5566)) is None


def test_a_packet_that_repeats_a_byte_has_to_repeat_it():
    led = CATALOGUE['MiniLFOV_FullReso'].controls['led']
    assert led.after((0,), bytes.fromhex('58 00 CC CC')) == (0xCC,)
    assert led.after((0,), bytes.fromhex('58 00 CC CD')) is None


@pytest.mark.parametrize('name, key', [
    (name, key) for name, key in CONTROLS if 'min' in DATA[name]['controls'][key]])
def test_fractions_reach_every_level(name, key):
    control = CATALOGUE[name].controls[key]
    first, last = sorted((control.raw(control.minimum)[0], control.raw(control.maximum)[0]))
    raws = range(first, last + 1, 2 ** control.shift)
    values = [control.value_of_raw((raw,)) for raw in raws]
    assert [control.raw(value) for value in values] == [(raw,) for raw in raws]
    assert len(raws) == (32 if control.scale == 0.31 else 255 if key == 'focus' else 256)


@pytest.mark.parametrize('name', DATA)
def test_lights_are_darkest_at_zero(name):
    lights = CATALOGUE[name].lights
    assert [light.name for light in lights] == [
        key for key in ('led', 'led2') if key in DATA[name]['controls']]
    for light in lights:
        assert light.darkest == light.minimum == 0
        # What the V4's and the large types' potentiometers call dark is their highest value.
        dark, bright = light.raw(0)[0], light.raw(light.maximum)[0]
        assert (dark, bright) in ((255, 0), (0, 31), (0, 255 << 4))


def test_halves_are_rounded_to_even():
    focus = CATALOGUE['Miniscope_V4_BNO'].controls['focus']
    assert [focus.raw(value)[0] for value in (-126.5, -125.5, 0.5, 1.5)] == [0, 2, 128, 128]


@untimed
@given(st.floats(allow_nan=True, allow_infinity=True))
def test_nothing_outside_the_range_gets_a_raw_value(value):
    led = CATALOGUE['Miniscope_V4_BNO'].controls['led']
    if 0 <= value <= 100:
        assert led.raw(value) == (round(255 - 2.55 * value),)
    else:
        for method in led.check, led.raw, led.packets:
            with pytest.raises(ValueError, match=r'^led cannot be .*: it is 0 to 100$'):
                method(value)


def test_a_refused_choice_names_the_choices():
    rate = CATALOGUE['Miniscope_V3'].controls['frame_rate']
    with pytest.raises(ValueError, match=(
            r'^frame_rate cannot be 25: it is one of 10, 15, 20, 30, 60$')):
        rate.packets(25.0)
    with pytest.raises(ValueError, match='frame_rate cannot be nan'):
        rate.check(math.nan)


# --- a user's file ---------------------------------------------------------------------------

MINE = {
    'sensor': 'PYTHON480', 'size': [608, 608], 'pixel_clock': 16.6, 'orientation': False,
    'dark': 'full',
    'controls': {
        'led': {'min': 0, 'max': 10, 'start': 0, 'scale': -25.5, 'offset': -255,
                'packets': ['58 00 {0}']},
        'frame_rate': {'choices': {10: [100000, 1], 20.5: [50000, 2]}, 'start': 20.5,
                       'packets': ['B8 05 {3} {2} {1} {0}', 'B8 0B {b0}']},
    },
    'init': ['C0 22 02'],
}


def write(folder, content):
    file = folder / 'mine.yaml'
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, str):
        file.write_text(content)
    else:
        file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def error_of(folder, content):
    file = write(folder, content)
    with pytest.raises(ConfigurationError) as caught:
        load_catalogue(file)
    text = str(caught.value)
    assert text.startswith(f'{file}: ')
    assert '\n' not in text
    return text.removeprefix(f'{file}: ')


def changed(path, value):
    """Return MINE with the entry at a path like 'controls.led.min' replaced, None: removed."""
    result = copy.deepcopy(MINE)
    *above, last = path.split('.')
    place = result
    for key in above:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return {'Mine': result}


def test_a_users_type_is_added(tmp_path):
    catalogue = load_catalogue(write(tmp_path, {'Mine': MINE}))
    assert list(catalogue) == [*DATA, 'Mine']
    mine = catalogue['Mine']
    assert (mine.width, mine.height, mine.init) == (608, 608, (bytes.fromhex('C0 22 02'),))
    assert mine.controls['led'].packets(9.96) == [bytes.fromhex('58 00 01')]
    assert mine.controls['frame_rate'].packets(10) == packets_of(
        'B8 05 00 01 86 A0, B8 0B 01')


@pytest.mark.parametrize('none', [None, ''])
def test_without_a_file_there_are_the_packages_types(none):
    assert load_catalogue(none) == CATALOGUE


def test_the_packages_file_can_be_copied_under_other_names(tmp_path):
    renamed = {f'my_{name}': entry for name, entry in DATA.items()}
    catalogue = load_catalogue(write(tmp_path, renamed))
    for name in DATA:
        assert catalogue[f'my_{name}'].controls == CATALOGUE[name].controls


def pipe(folder):
    """Make a named pipe, on which opening would wait for ever."""
    if not (folder / 'pipe').exists():
        os.mkfifo(folder / 'pipe')
    return folder / 'pipe'


@pytest.mark.parametrize('make', [
    lambda folder: folder / 'missing.yaml', lambda folder: folder,
    lambda folder: Path('/dev/zero'), pipe])
def test_a_file_that_cannot_be_read_can_be_mended(tmp_path, make):
    with pytest.raises(DeviceError, match=f'{make(tmp_path)} cannot be read: .*correct that'):
        load_catalogue(str(make(tmp_path)))


@pytest.mark.parametrize('content, message', [
    ('', 'holds nothing; it has to map'),
    ('- Mine', "holds ['Mine']; it has to map"),
    ('7: {}', '7 is no name of a type; write it in quotes'),
    ('Mine:', 'Mine: holds nothing; write key: value pairs'),
    ('Mine:\n  size: [608, 608\n  init: []\n', 'line 3: no valid YAML: '),
    ('Mine:\n  size: 1\n  size: 2\n', 'line 3: no valid YAML: size stands twice'),
    ('Mine: {}\nMine: {}\n', 'line 2: no valid YAML: Mine stands twice'),
    ('Mine: {controls: {gain: {choices: {1: 2, 1.0: 3}}}}', 'line 1: no valid YAML: 1.0 stands'),
    ('Mine: !!python/object/apply:os.getcwd []', 'line 1: no valid YAML: could not determine'),
    ('Mine: [' * 5000, 'no valid YAML: '),
    ('Mine: {sensor: 2026-99-99}', 'no valid YAML: month must be'),
    (b'Mine: \xff\xfe', 'no valid YAML: '),
    ('Miniscope_V3: {}', 'Miniscope_V3: sensor is missing; add it'),
])
def test_a_file_of_another_shape_is_refused(tmp_path, content, message):
    assert message in error_of(tmp_path, content)


def test_a_built_in_name_is_refused(tmp_path):
    assert error_of(tmp_path, {'Miniscope_V3': MINE}) == (
        'Miniscope_V3: the package has a type of this name; choose another name')


LED, RATE = 'controls.led', 'controls.frame_rate'


@pytest.mark.parametrize('path, value, message', [
    ('sensor', None, 'Mine: sensor is missing; add it'),
    ('senor', 'X', "Mine: unknown key 'senor'; the keys are sensor, size, pixel_clock, "),
    ('sensor', 480, 'Mine: sensor: 480 is no text; write it in quotes'),
    ('size', [640, 480], 'Mine: size: [640, 480]; the DAQ box has [608, 608], [752, 480], '),
    ('size', 608, 'Mine: size: 608; the DAQ box has'),
    ('pixel_clock', 'fast', "Mine: pixel_clock: 'fast' is no number"),
    ('pixel_clock', True, 'Mine: pixel_clock: True is no number'),
    ('pixel_clock', 0, 'Mine: pixel_clock: 0 MHz; it has to be above 0'),
    ('orientation', 'maybe', "Mine: orientation: 'maybe'; write true or false"),
    ('orientation', True, "Mine: init: 'FE 00' is missing, which starts the orientation sensor"),
    ('dark', 'very', "Mine: dark: 'very'; write one of full, residual, unknown"),
    ('dark', ['full'], "Mine: dark: ['full']; write one of"),
    ('init', [], 'Mine: init: holds nothing; write a list of packets'),
    ('init', 'C0 22 02', "Mine: init: holds 'C0 22 02'; write a list of packets"),
    ('init', ['C0 2'], "Mine: init: 'C0 2' is no packet"),
    ('init', ['C0'], "Mine: init: 'C0' is no packet (1 bytes, where 2 to 6 can be sent)"),
    ('init', ['C0 1 2 3 4 5 6'], "Mine: init: 'C0 1 2 3 4 5 6' is no packet"),
    ('init', ['C1 22'], "Mine: init: 'C1 22' is no packet (address C1 is odd"),
    ('init', [9801], 'Mine: init: 9801 is no text; write it in quotes'),
    ('controls', [], 'Mine: controls: holds nothing; write key: value pairs'),
    (RATE, None, 'Mine: controls: frame_rate is missing; add it'),
    ('controls.lens', {}, "Mine: controls: unknown key 'lens'; the keys are frame_rate, led, "),
    ('controls.focus', 3, 'Mine: controls: focus: holds 3; write key: value pairs'),
    (f'{LED}.start', None, 'Mine: controls: led: start is missing; add it'),
    (f'{LED}.step', 1, "Mine: controls: led: unknown key 'step'; the keys are start, packets"),
    (f'{LED}.max', None, 'Mine: controls: led: neither choices nor both of min and max'),
    (f'{LED}.choices', {1: 2}, 'Mine: controls: led: choices and min, max, scale, offset; keep'),
    (f'{LED}.max', -1, 'Mine: controls: led: min 0 is not below max -1'),
    (f'{LED}.max', math.nan, 'Mine: controls: led: max: nan is no number'),
    (f'{LED}.max', 10 ** 400, ' is no number up to 1e9'),
    (f'{LED}.min', 1, 'Mine: controls: led: min: 1; a light starts at 0, its darkest'),
    (f'{LED}.start', 11, 'Mine: controls: led: start: led cannot be 11: it is 0 to 10'),
    (f'{LED}.scale', 0, 'Mine: controls: led: scale: 0; it has to differ from 0'),
    (f'{LED}.shift', 1.5, 'Mine: controls: led: shift: 1.5; write a whole number from 0 to 31'),
    (f'{LED}.shift', 4, 'led: packets: raw value 4080 does not fit into the 8 bits'),
    (f'{LED}.offset', 0, 'led: packets: raw value -255 does not fit into the 8 bits'),
    (f'{LED}.packets', ['58 00 {1}'], 'led: packets: {0} and the bytes above it'),
    (f'{LED}.packets', ['58 00 {0} {2}'], 'led: packets: {0} and the bytes above it'),
    (f'{LED}.packets', ['58 00 {b0} {0}'], 'led: packets: {b0} stands for a second raw value'),
    (f'{LED}.packets', ['58 00 {4}'], "led: packets: '{4}' in '58 00 {4}' is neither two hex"),
    (f'{LED}.packets', ['58 0 {0}'], "led: packets: '0' in '58 0 {0}' is neither two hex"),
    (f'{LED}.packets', ['{0} 58'], "led: packets: '{0} 58' begins with {..}"),
    (f'{LED}.packets', ['59 {0}'], "led: packets: '59 {0}' is no packet: address 59 is odd"),
    (f'{LED}.packets', ['58 1 2 3 4 5 {0}'], "led: packets: '1' in"),
    (f'{LED}.packets', ['58 01 02 03 04 05 {0}'], 'is no packet: 7 bytes, where 2 to 6'),
    (f'{LED}.packets', [' '], "led: packets: ' ' is no packet: 0 bytes"),
    (f'{LED}.packets', [{'58 00': 1}], "led: packets: {'58 00': 1} is no text"),
    (LED, {'choices': {0: 0}, 'start': 0, 'packets': ['58 {0}']},
     'led: choices; this control needs min and max'),
    ('controls.focus', {'min': 0, 'max': 1.5, 'start': 0, 'packets': ['EE {0}']},
     'focus: 0 to 1.5; min and max of focus are whole numbers'),
    (RATE, {'min': 1, 'max': 60, 'start': 1, 'packets': ['BA {0}']},
     'frame_rate: min and max; this control needs choices'),
    (f'{RATE}.start', 30, 'start: frame_rate cannot be 30: it is one of 10, 20.5'),
    (f'{RATE}.choices', {}, 'choices: holds nothing; write values with their raw values'),
    (f'{RATE}.choices', {'ten': 1}, "choices: 'ten' is no number"),
    (f'{RATE}.choices', {10: 1.5}, 'choices: 10: 1.5; write one raw value or a list of two'),
    (f'{RATE}.choices', {10: [1, 2, 3]}, 'choices: 10: [1, 2, 3]; write one raw value'),
    (f'{RATE}.choices', {10: [1, 2], 20.5: 3}, 'choices: some have one raw value and some two'),
    (f'{RATE}.choices', {10: [1, 2], 20.5: [1, 256]}, 'raw value 256 does not fit into the 8'),
    (f'{RATE}.choices', {20.5: [1 << 32, 2]}, 'raw value 4294967296 does not fit into the 32'),
    (f'{RATE}.choices', {0: [1, 2], 20.5: [3, 4]}, 'choices: one of 0, 20.5; frame rates are'),
    (f'{RATE}.choices', {20.5: 3}, 'packets: {b0} stands for a second raw value'),
    (f'{RATE}.packets', ['B8 {3} {2} {1} {0}'], 'packets: {b0} and the bytes above it'),
])
def test_a_faulty_entry_is_named_with_a_remedy(tmp_path, path, value, message):
    assert message in error_of(tmp_path, changed(path, value))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(max_size=4) | st.integers(), inner, max_size=3), max_leaves=6)
places = st.sampled_from([
    *MINE, LED, RATE, *(f'{LED}.{key}' for key in MINE['controls']['led']),
    *(f'{RATE}.{key}' for key in MINE['controls']['frame_rate']), 'extra', f'{LED}.shift',
    'controls.gain'])


@untimed
@given(places, plain)
def test_any_entry_is_read_or_refused_in_words(tmp_path_factory, path, value):
    folder = tmp_path_factory.getbasetemp()
    file = write(folder, changed(path, value) if value is not None else {'Mine': MINE})
    try:
        mine = load_catalogue(file)['Mine']
    except ConfigurationError as error:
        assert str(error).startswith(f'{file}: ')
    else:
        for control in mine.controls.values():
            assert all(2 <= len(packet) <= 6 for packet in control.packets(control.start))


@st.composite
def ranged_controls(draw):
    """Draw an entry whose raw values fill 8, 16, 24 or 32 bits at most, and what they are."""
    size = draw(st.integers(1, 4))
    low = draw(st.integers(-1000, 1000))
    levels = draw(st.integers(1, min(256 ** size - 1, 100000)))
    shift = draw(st.integers(0, 8 * size - levels.bit_length()))
    upside_down = draw(st.booleans())
    scale = -1 if upside_down else 1
    offset = -(low + levels) if upside_down else low
    return {
        'min': low, 'max': low + levels, 'start': low, 'scale': scale, 'offset': offset,
        'shift': shift, 'packets': [
            ' '.join(('58', *(f'{{{k}}}' for k in reversed(range(size)))))]}, upside_down


@untimed
@given(ranged_controls(), st.data())
def test_generated_ranges_round_trip(tmp_path_factory, drawn, data):
    entry, upside_down = drawn
    file = write(
        tmp_path_factory.getbasetemp(),
        changed('controls.gain', entry))
    gain = load_catalogue(file)['Mine'].controls['gain']
    value = data.draw(st.integers(entry['min'], entry['max']))
    steps = entry['max'] - value if upside_down else value - entry['min']
    packet, = gain.packets(value)
    assert int.from_bytes(packet[1:], 'big') == steps << entry['shift']
    assert gain.value_of_raw(gain.after((0,), packet)) == value
    if entry['shift']:
        assert gain.value_of_raw((gain.raw(value)[0] + 1,)) is None


@pytest.mark.parametrize('size', SIZES)
def test_every_size_of_the_box_is_allowed(tmp_path, size):
    mine = load_catalogue(write(tmp_path, changed('size', list(size))))['Mine']
    assert (mine.width, mine.height) == size
