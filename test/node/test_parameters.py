# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The parameters of a running node: what it refuses and why, and what it makes of the rest."""
from collections.abc import Iterator
from itertools import pairwise
import math
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from listening import diagnosis, Listener
from miniscope_msgs.msg import ControlChange, FrameInfo
from node_process import scope_node
import pytest

TYPES_OF_NUMBERS = ('led', 'max_led', 'frame_rate', 'gain')
COMMON = {
    'source', 'device', 'device_type', 'device_catalog', 'table_header', 'frame_id',
    'imu_frame_id', 'display.mode', 'display.background_alpha', 'display.minimum',
    'display.maximum', 'display.orientation_indicator', 'display.text_indicator',
    'display.loss_indicator', 'display.delta_f_maximum', 'display.jpeg_quality',
    'display.max_rate', 'display.highlight_saturation', 'display.color_map',
    'orientation.max_norm_error', 'orientation.max_rate', 'orientation.skip_repeated',
    'orientation.stddev', 'orientation.stale_after', 'publish_tf', 'world_frame_id',
    'camera_info_url', 'sync_output', 'auto_start', 'reconnect', 'diagnostics_period'}
OF_SOURCE = {
    'simulated': {
        'frame_rate', 'led', 'focus', 'gain', 'max_led', 'trigger.input', 'trigger.action'},
    'camera': {'frame_rate', 'image_width', 'image_height', 'pixel_format', 'exposure'},
    'daq': {
        'frame_rate', 'led', 'focus', 'gain', 'max_led', 'trigger.input', 'trigger.action',
        'transport'},
    'replay': {'replay.path', 'replay.loop', 'replay.rate', 'replay.stamps'}}
DEFAULTS = {
    'source': 'simulated', 'device': '', 'device_type': 'Miniscope_V4_BNO', 'device_catalog': '',
    'frame_rate': 30.0, 'led': 0.0, 'focus': 0, 'gain': 1.0, 'max_led': 100.0,
    'table_header': ['Time [ms]', 'qw', 'qx', 'qy', 'qz'],
    'frame_id': 'miniscope_optical_frame', 'imu_frame_id': 'miniscope_imu_link',
    'display.mode': 'raw', 'display.background_alpha': 0.01, 'display.minimum': 0,
    'display.maximum': 255, 'display.orientation_indicator': True,
    'display.text_indicator': True, 'display.loss_indicator': True,
    'display.delta_f_maximum': 0.2, 'display.jpeg_quality': 85, 'display.max_rate': 0.0,
    'display.highlight_saturation': False, 'display.color_map': 'none',
    'orientation.max_norm_error': 0.05, 'orientation.max_rate': 35.0,
    'orientation.skip_repeated': True,
    'orientation.stddev': 0.0, 'orientation.stale_after': 30.0, 'publish_tf': False,
    'world_frame_id': 'world', 'camera_info_url': '', 'sync_output': True, 'auto_start': False,
    'reconnect': True, 'diagnostics_period': 1.0, 'trigger.input': -1, 'trigger.action': 'none'}
REFUSED = [  # name, value, what the reason says
    ('source', 'replay', 'set at start only'),
    ('device_type', 'Miniscope_V3', 'set at start only'),
    ('device_catalog', '/tmp/types.yaml', 'set at start only'),
    ('auto_start', True, 'set at start only'),
    ('device', 0.5, 'cannot be 0.5: it is a text'),
    ('frame_rate', 31.0, 'cannot be 31: it is one of 2, 5, 10, 15, 20, 25, 30'),
    ('led', 100.5, 'cannot be 100.5: it is 0 to 100'),
    ('led', -1, 'cannot be -1: it is 0 to 100'),
    ('led', math.nan, 'cannot be nan: it is 0 to 100'),
    ('led', 'bright', "cannot be 'bright': it is a number"),
    ('led', True, 'cannot be True: it is a number'),
    ('focus', 128, 'cannot be 128: it is -127 to 127'),
    ('focus', 2.5, 'cannot be 2.5: it is a whole number'),
    ('gain', 3.0, 'cannot be 3: it is one of 1, 2, 3.5'),
    ('max_led', 101.0, 'cannot be 101: it is 0 to 100'),
    ('table_header', ['time', 'w', 'x', 'y'], 'it is 5 names'),
    ('table_header', 'time', "cannot be 'time': it is a list of texts"),
    ('frame_id', 2.5, 'cannot be 2.5: it is a text'),
    ('imu_frame_id', False, 'cannot be False: it is a text'),
    ('display.mode', 'pretty', 'it is one of raw, background_difference, delta_f_over_f'),
    ('display.background_alpha', 0.0, 'cannot be 0: it is 0.001 to 0.99'),
    ('display.minimum', -1, 'cannot be -1: it is 0 to 254'),
    ('display.minimum', 1.5, 'cannot be 1.5: it is a whole number'),
    ('display.maximum', 256, 'cannot be 256: it is 1 to 255'),
    ('display.orientation_indicator', 1, 'cannot be 1: it is true or false'),
    ('display.text_indicator', 'yes', "cannot be 'yes': it is true or false"),
    ('display.loss_indicator', 0.0, 'cannot be 0.0: it is true or false'),
    ('display.delta_f_maximum', 0.0, 'cannot be 0: it is 0.001 to 100'),
    ('display.jpeg_quality', 0, 'cannot be 0: it is 1 to 100'),
    ('display.max_rate', -1.0, 'cannot be -1: it is 0 to 1000'),
    ('display.highlight_saturation', 2, 'cannot be 2: it is true or false'),
    ('display.color_map', 'jet', 'it is one of none, green, red, inferno'),
    ('orientation.max_norm_error', 1.5, 'cannot be 1.5: it is 0 to 1'),
    ('orientation.skip_repeated', 'no', 'it is true or false'),
    ('orientation.stddev', -0.1, 'cannot be -0.1: it is 0 to 3.2'),
    ('orientation.stale_after', 0.0, 'cannot be 0: it is 0.1 to 86400'),
    ('orientation.max_rate', 0.0, 'cannot be 0: it is 0.1 to 1e+06'),
    ('publish_tf', 'true', "cannot be 'true': it is true or false"),
    ('world_frame_id', 1.0, 'cannot be 1.0: it is a text'),
    ('camera_info_url', False, 'cannot be False: it is a text'),
    ('sync_output', 1, 'cannot be 1: it is true or false'),
    ('reconnect', 0, 'cannot be 0: it is true or false'),
    ('diagnostics_period', 0.0, 'cannot be 0: it is 0.1 to 60'),
    ('trigger.input', 8, 'cannot be 8: it is -1 to 7'),
    ('trigger.action', 'fire', 'it is one of none, light, record'),
]
OF_CONFIGURATION = {
    'device': 'seed=2', 'max_led': 50.0, 'publish_tf': True, 'camera_info_url': 'file:///x'}


@pytest.fixture(scope='module')
def ear() -> Iterator[Listener]:
    """Ask a node that the tests take from unconfigured to active, in their order."""
    with scope_node({'source': 'simulated', 'auto_start': False}), Listener() as ear:
        yield ear


def refusal(ear: Listener, name: str, value: Any) -> str:
    """Return the reason against a value, the same in both ways to set it."""
    before = ear.get(name)
    one, = ear.set_each(**{name: value})
    all_or_none = ear.set_together(**{name: value})
    assert not one.successful and not all_or_none.successful
    assert one.reason == all_or_none.reason
    assert ear.get(name) == before
    return str(one.reason)


@pytest.mark.parametrize('source', OF_SOURCE)
def test_a_source_has_its_parameters_and_no_others(source: str) -> None:
    with scope_node({'source': source, 'auto_start': False}), Listener() as ear:
        names = {name for name in ear.parameters() if not name.startswith('qos_overrides.')}
        assert names - {'use_sim_time', 'start_type_description_service'} == (
            COMMON | OF_SOURCE[source])


def test_defaults_are_those_of_the_interface(ear: Listener) -> None:
    assert {name: ear.get(name) for name in DEFAULTS} == DEFAULTS
    assert set(DEFAULTS) == COMMON | OF_SOURCE['simulated']


def test_each_parameter_is_described_with_its_limits(ear: Listener) -> None:
    described = {each.name: each for each in ear.describe(*DEFAULTS)}
    assert set(described) == set(DEFAULTS)
    assert all(each.description for each in described.values())
    assert {name for name, each in described.items() if each.read_only} == {
        'source', 'device_type', 'device_catalog', 'auto_start'}
    led, = described['led'].floating_point_range
    assert (led.from_value, led.to_value, led.step) == (0.0, 100.0, 0.0)
    focus, = described['focus'].integer_range
    assert (focus.from_value, focus.to_value) == (-127, 127)
    assert described['gain'].additional_constraints == 'one of 1, 2, 3.5'
    assert 'one of 2, 5, 10, 15, 20, 25, 30' in described['frame_rate'].additional_constraints
    assert 'not while the node is active' in described['frame_rate'].additional_constraints
    assert 'only while the node is unconfigured' in described['max_led'].additional_constraints
    for name, value in DEFAULTS.items():
        each = described[name]
        assert not each.dynamic_typing
        # Whatever can be set only to some texts or names tells them.
        if isinstance(value, (str, list)):
            assert each.additional_constraints


@pytest.mark.parametrize(('name', 'value', 'reason'), REFUSED)
def test_refused_with_what_is_allowed(
        ear: Listener, name: str, value: Any, reason: str) -> None:
    told = refusal(ear, name, value)
    assert told.startswith(f'{name} c')
    assert reason in told


def test_refusals_are_complete() -> None:
    assert {name for name, *_ in REFUSED} == COMMON | OF_SOURCE['simulated']


def test_an_unknown_name_is_refused(ear: Listener) -> None:
    one, = ear.set_each(ledd=20.0)
    assert not one.successful and 'ledd' in one.reason
    assert not ear.set_together(ledd=20.0, led=20.0).successful
    assert ear.get('led') == 0.0


def test_whole_numbers_are_taken_for_doubles(ear: Listener) -> None:
    for name in (*TYPES_OF_NUMBERS, 'orientation.stale_after', 'display.max_rate'):
        before = ear.get(name)
        for results in (ear.set_each(**{name: 10 if name != 'gain' else 2}),
                        [ear.set_together(**{name: 10 if name != 'gain' else 2})]):
            assert [result.successful for result in results] == [True], results
            assert repr(ear.get(name)) == ('10.0' if name != 'gain' else '2.0')
        assert ear.set_together(**{name: before}).successful


def test_a_number_is_taken_for_a_device(ear: Listener) -> None:
    assert ear.set_together(device=0).successful
    assert ear.get('device') == '0'
    assert ear.set_together(device='').successful


def test_all_or_none_and_one_by_one(ear: Listener) -> None:
    result = ear.set_together(led=20.0, display__minimum=300, gain=7.0)
    assert not result.successful
    for name in ('display.minimum cannot be 300', 'gain cannot be 7'):
        assert name in result.reason  # all reasons in one message
    assert (ear.get('led'), ear.get('display.minimum')) == (0.0, 0)
    results = ear.set_each(led=20.0, display__minimum=300, gain=2.0)
    assert [result.successful for result in results] == [True, False, True]
    assert (ear.get('led'), ear.get('display.minimum'), ear.get('gain')) == (20.0, 0, 2.0)
    assert ear.set_together(led=0.0, gain=1.0).successful


def test_contrast_window_is_not_empty(ear: Listener) -> None:
    assert ear.set_together(display__minimum=100, display__maximum=200).successful
    told = refusal(ear, 'display.minimum', 200)
    assert told == 'display.minimum 200 has to be below display.maximum 200'
    told = refusal(ear, 'display.maximum', 50)
    assert told == 'display.minimum 100 has to be below display.maximum 50'
    # Together they may go where neither could have gone first.
    assert ear.set_together(display__minimum=210, display__maximum=220).successful
    assert ear.set_together(display__minimum=0, display__maximum=255).successful


def test_led_keeps_to_its_ceiling(ear: Listener) -> None:
    assert ear.set_together(led=40.0, max_led=50.0).successful
    assert refusal(ear, 'led', 50.5) == 'led 50.5 is above max_led 50'
    assert refusal(ear, 'max_led', 30.0) == 'led 40 is above max_led 30'
    assert not ear.set_together(led=60.0, max_led=55.0).successful
    assert ear.set_together(led=50.0).successful
    assert ear.set_together(led=0.0, max_led=100.0).successful


# From here on the node is inactive.

def test_configuration_is_kept_while_configured(ear: Listener) -> None:
    assert ear.change_state('configure')
    for name, value in OF_CONFIGURATION.items():
        assert refusal(ear, name, value) == (
            f'{name} cannot be changed now: only while the node is unconfigured; clean it up '
            'first')


def test_frame_rate_may_change_while_inactive_and_is_told(ear: Listener) -> None:
    told = {topic: ear.wait_for(ear.listen(topic))
            for topic in ('image_raw/metadata', 'image_display/metadata')}
    for topic, heard in told.items():
        assert heard[-1].framerate == 30.0, topic
    assert ear.set_together(frame_rate=20).successful
    for heard in told.values():
        ear.wait_until(lambda heard=heard: heard[-1].framerate == 20.0, 'metadata came again')


# From here on the node is active, at 20 frames/s.

def test_frames_come_at_the_rate_set_while_inactive(ear: Listener) -> None:
    frames = ear.listen('frame_info')
    reports = ear.listen('/diagnostics', DiagnosticArray)
    ear.wait_for_match(frames)
    assert ear.set_together(led=5.0).successful
    assert ear.change_state('activate')
    ear.wait_for(frames, 30)
    for earlier, later in pairwise(frames):
        periods = later.capture_index - earlier.capture_index
        assert later.time_ms - earlier.time_ms == pytest.approx(50 * periods, abs=0.001)
    status = diagnosis(ear, reports)['acquisition']
    values = {pair.key: pair.value for pair in status.values}
    assert values['rate set [frames/s]'] == values['rate measured [frames/s]'] == '20'
    assert status.level == b'\0', status.message


def test_frame_rate_is_kept_while_active(ear: Listener) -> None:
    assert refusal(ear, 'frame_rate', 30.0) == (
        'frame_rate cannot be changed now: not while the node is active; deactivate it first')
    for name, value in OF_CONFIGURATION.items():
        assert 'only while the node is unconfigured' in refusal(ear, name, value)


def test_a_new_table_header_is_told(ear: Listener) -> None:
    told = ear.wait_for(ear.listen('orientation_rows/metadata'))
    names = ['t', 'a', 'b', 'c', 'd']
    assert ear.set_together(table_header=names).successful
    ear.wait_until(lambda: told[-1].table_header == names, 'metadata came again')
    assert len(told) == 2


def test_metadata_is_not_sent_again_for_nothing(ear: Listener) -> None:
    told = ear.wait_for(ear.listen('image_raw/metadata'))
    header = ear.wait_for(ear.listen('orientation_rows/metadata'))
    before = len(told)
    assert ear.set_together(led=6.0, display__minimum=1).successful
    assert ear.set_together(table_header=['e', 'f', 'g', 'h', 'i']).successful
    ear.wait_until(lambda: header[-1].table_header[0] == 'e', 'metadata came again')
    assert len(told) == before or not math.isnan(told[-1].sensor_framerate)


def test_a_new_led_is_told_with_its_first_frame(ear: Listener) -> None:
    changes = ear.listen('control_changes')
    controls = ear.listen('controls')
    images = ear.listen('image_raw', keep=lambda image: (
        (image.header.stamp.sec, image.header.stamp.nanosec), sum(image.data[::997])))
    frames = ear.listen('frame_info')
    ear.wait_for_match(changes, images, frames)
    ear.wait_for(images, 5)
    assert ear.set_together(led=20.0).successful
    ear.wait_until(lambda: changes and changes[-1].value == 20.0, 'the change was told')
    change: ControlChange = changes[-1]
    assert (change.control, change.reason) == ('led', ControlChange.REASON_USER)
    ear.wait_until(lambda: frames[-1].capture_index > change.first_capture_index + 3
                   and images[-1][0] == stamp(frames[-1]), 'the first frame under it came')
    assert dict(zip(controls[-1].names, controls[-1].values, strict=True))['led'] == 20.0
    brightness = dict(images)
    by_index = {frame.capture_index: brightness[stamp(frame)]
                for frame in frames if stamp(frame) in brightness}
    after = [light for index, light in by_index.items() if index >= change.first_capture_index]
    before = [
        light for index, light in by_index.items() if index < change.first_capture_index - 3]
    assert min(after) > 1.5 * max(before)
    assert max(after) < 1.2 * min(after)


def stamp(frame: FrameInfo) -> tuple[int, int]:
    """Return a stamp that can be compared."""
    return frame.header.stamp.sec, frame.header.stamp.nanosec


def test_frame_ids_hold_from_the_next_frame_on(ear: Listener) -> None:
    infos, turns = ear.listen('camera_info'), ear.listen('imu/data')
    assert ear.set_together(frame_id='lens', imu_frame_id='head').successful
    ear.wait_until(lambda: infos and infos[-1].header.frame_id == 'lens'
                   and turns and turns[-1].header.frame_id == 'head', 'frames have new names')


def test_sync_output_can_be_switched(ear: Listener) -> None:
    frames = ear.listen('frame_info')
    ear.wait_until(lambda: frames and frames[-1].sync_edge >= 0, 'edges are counted')
    assert ear.set_together(sync_output=False).successful
    ear.wait_until(lambda: frames[-1].sync_edge == -1, 'edges are counted no more')


def test_orientation_parameters_are_taken(ear: Listener) -> None:
    assert ear.set_together(
        orientation__stddev=0.1, orientation__skip_repeated=False).successful
    turns, frames = ear.listen('imu/data'), ear.listen('frame_info')
    ear.wait_until(lambda: turns and turns[-1].orientation_covariance[0] > 0, 'it is told')
    assert list(turns[-1].orientation_covariance) == pytest.approx(
        [0.01, 0, 0, 0, 0.01, 0, 0, 0, 0.01])
    seen = len(frames)
    ear.wait_for(frames, seen + 10)
    assert FrameInfo.ORIENTATION_REPEATED not in [frame.orientation for frame in frames[seen:]]
    # No reading of the simulated sensor is exactly of norm 1.
    assert ear.set_together(orientation__max_norm_error=0.0).successful
    ear.wait_until(
        lambda: frames[-1].orientation == FrameInfo.ORIENTATION_INVALID, 'it is invalid')


def test_diagnostics_come_as_often_as_set(ear: Listener) -> None:
    reports = ear.listen('/diagnostics', DiagnosticArray, keep=lambda report: (
        report.header.stamp.sec + report.header.stamp.nanosec / 1e9))
    assert ear.set_together(diagnostics_period=0.1).successful
    ear.wait_for(reports, 12)
    intervals = sorted(later - earlier for earlier, later in pairwise(reports[1:]))
    assert intervals[len(intervals) // 2] < 0.5  # the median; it was 1 s before
