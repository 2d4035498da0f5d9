# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the page makes of descriptors, of diagnostics and of a certificate."""
import json
import math
from pathlib import Path
from typing import Any

from miniscope_msgs.msg import Controls
from miniscope_ros.node.parameters import Mutability, ParameterSpec
from miniscope_ros.panel import finder
from miniscope_ros.panel.certificate import read_certificate
from miniscope_ros.panel.controls import Control, make_control, order
from miniscope_ros.panel.diagnosis import Part
from miniscope_ros.panel.form import Form
from miniscope_ros.panel.light import Light, light_of
from miniscope_ros.panel.messages import dump
import pytest
from rclpy.parameter import Parameter


def control(spec: ParameterSpec) -> Control:
    """Return the control that the page has for a parameter of the node."""
    value = Parameter(spec.name, value=spec.default).to_parameter_msg().value
    made = make_control(spec.descriptor(), value)
    assert made is not None
    return made


def test_range() -> None:
    made = control(ParameterSpec('led', 0.0, 'light', minimum=0.0, maximum=100.0))
    assert (made.kind, made.minimum, made.maximum, made.choices) == ('double', 0.0, 100.0, ())
    assert made.group == 'device'


@pytest.mark.parametrize(('default', 'choices'), [
    (1.0, (1.0, 2.0, 3.5)), ('raw', ('raw', 'delta_f_over_f')), ('', ('', 'YUYV')), (1, (1, 2))])
def test_choices(default: Any, choices: tuple[Any, ...]) -> None:
    made = control(ParameterSpec(
        'display.mode', default, 'text', Mutability.INACTIVE, choices=choices))
    kind = type(default)
    assert tuple(kind(choice) for choice in made.choices) == choices
    assert 'deactivate it first' in made.note
    assert made.group == 'display'


def test_read_only_and_text() -> None:
    made = control(ParameterSpec('source', 'daq', 'where from', Mutability.FIXED))
    assert made.read_only and made.text == 'where from'


@pytest.mark.parametrize(('kind', 'good', 'bad'), [
    ('bool', [True, False], [1, 'true', None]),
    ('integer', [3, 3.0, -1], [3.5, True, '3', math.inf, 2 ** 70, None]),
    ('double', [3, 3.5], [True, '3', math.nan, math.inf, None, [1]]),
    ('string', ['', 'a'], [1, None, 'a\0b', 'x' * 5000]),
    ('strings', [['a', 'b'], []], ['a', [1], None]),
])
def test_values_of_the_page_are_checked(kind: str, good: list[Any], bad: list[Any]) -> None:
    made = Control('x', kind, None, '', '', False)
    for value in good:
        assert made.message(value).name == 'x'
    for value in bad:
        with pytest.raises(ValueError, match='x cannot be'):
            made.message(value)


def test_what_steers_the_device_comes_first() -> None:
    names = ('auto_start', 'display.mode', 'frame_rate', 'gain', 'led')
    made = {name: Control(name, 'double', 0.0, '', '', False) for name in names}
    assert [one.name for one in order(made)] == [
        'led', 'gain', 'frame_rate', 'display.mode', 'auto_start']


DEVICE = Part('ok', 'active', {'lifecycle state': 'active'})
DARK = Part('ok', 'dark', {'active': 'True', 'may be lit': 'False'})
LIT = Part('ok', 'lit', {'active': 'True', 'may be lit': 'True', 'led': '20'})
DOUBTFUL = Part('error', 'the light may be on although nothing is acquired', {})


@pytest.mark.parametrize(('parts', 'sent', 'lights', 'silent', 'wanted'), [
    ({'device': DEVICE, 'light': DARK}, {'led': 0.0}, True, False, Light.DARK),
    ({'device': DEVICE, 'light': LIT}, {'led': 20.0}, True, False, Light.LIT),
    # A value was sent, but not confirmed yet: the safe side is lit, either way.
    ({'device': DEVICE, 'light': DARK}, {'led': 20.0}, True, False, Light.LIT),
    ({'device': DEVICE, 'light': LIT}, {'led': 0.0}, True, False, Light.LIT),
    ({'device': DEVICE, 'light': DOUBTFUL}, {'led': 0.0}, True, False, Light.UNCONFIRMED),
    ({'device': DEVICE, 'light': Part('warning', '', {'light': 'UNCONFIRMED'})}, {}, True, False,
     Light.UNCONFIRMED),
    ({'device': DEVICE, 'light': DARK}, {'led': 0.0}, True, True, Light.UNCONFIRMED),
    ({'device': DEVICE, 'light': DARK}, {}, False, False, Light.NONE),
    ({'device': DEVICE}, {}, True, False, Light.CLOSED),
    ({'device': Part('error', 'no box', {})}, {}, True, False, Light.UNCONFIRMED),
    ({}, {}, True, True, Light.UNCONFIRMED),
])
def test_light(parts: dict[str, Part], sent: dict[str, float], lights: bool, silent: bool,
               wanted: Light) -> None:
    light, text = light_of(parts, sent, lights, silent)
    assert light is wanted and text


@pytest.mark.parametrize(('content', 'level', 'text'), [
    ({'verdict': 'complete', 'topics': {'/a': {'lost': 0}, '/b': {'lost': None}}}, 'ok',
     'complete, 0 messages lost in 2 topics'),
    ({'verdict': 'complete', 'topics': {'/a': {'lost': 3}}}, 'warning', '3 messages lost'),
    ({'verdict': 'failed', 'topics': {}, 'problems': ['p1', 'p2', 'p3', 'p4', 'p5']}, 'error',
     'p3; and 2 more'),
    ({'verdict': 'strange', 'topics': {}}, 'warning', 'strange'),
    ({'topics': []}, 'warning', 'not legible'), ([], 'warning', 'not legible'),
])
def test_certificate(tmp_path: Path, content: Any, level: str, text: str) -> None:
    (tmp_path / 'certificate.json').write_text(json.dumps(content))
    read = read_certificate(tmp_path)
    assert read['level'] == level and text in read['verdict']
    assert str(tmp_path) in read['command']


def test_texts_that_are_nested_too_deeply_are_not_legible(tmp_path: Path) -> None:
    for name in ('certificate.json', 'form.json'):
        (tmp_path / name).write_text('[' * 100_000)
    assert 'not legible' in read_certificate(tmp_path)['verdict']
    assert not any(Form(tmp_path / 'form.json').fields.values())


def test_missing_certificate(tmp_path: Path) -> None:
    assert read_certificate(tmp_path / 'away')['level'] == 'warning'


def test_numbers_that_json_lacks_become_null() -> None:
    assert json.loads(dump('x', a=math.nan, b=[math.inf, 1.5], c={'d': -math.inf})) == {
        'type': 'x', 'a': None, 'b': [None, 1.5], 'c': {'d': None}}


def test_scopes_are_found_by_a_type_that_exists() -> None:
    assert f'miniscope_msgs/msg/{Controls.__name__}' == finder._TYPE
