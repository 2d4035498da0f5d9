# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Old and odd metadata cost their own value, with a warning, never the recording."""
import json
import math
from pathlib import Path
from typing import Any

from miniscope_ros.recordings.formats import open_recording
from miniscope_ros.recordings.recording import Recording
import pytest
from recording_folders import scenes, START_MS, write_miniscope_daq, write_syntalos

MS = 1_000_000
TIMES_US = [50_000 * number for number in range(20)]


def opened(path: Path) -> Recording:
    """Return a recording of five frames, or more, all of which can be played."""
    recording = open_recording(str(path))
    assert len(list(recording.frames())) >= 5
    return recording


def daq(folder: Path, device: str | None = None, session: str | None = None) -> Path:
    """Write a recording of five frames with metadata of these texts."""
    scope = write_miniscope_daq(folder / 'scope', scenes(5), [0, 50, 100, 150, 200])
    if device is not None:
        (scope / 'metaData.json').write_text(device)
    if session is not None:
        (folder / 'metaData.json').write_text(session)
    return scope


@pytest.mark.parametrize('session, start_ms', [
    ({'year': 2020, 'msec': 4, 'msecSinceEpoch': 1594170123004}, 1594170123004),
    ({'recordingStartTime': {'msecSinceEpoch': '1594170123004'}}, 1594170123004),
    ({'recordingStartTime': {'msecSinceEpoch': 1594170123004.0}}, 1594170123004),
    ({'recordingStartTime': {'year': 2020}}, None),
    ({}, None)])
def test_the_start_is_known_wherever_it_stands(
        tmp_path: Path, session: dict[str, Any], start_ms: int | None) -> None:
    recording = opened(daq(tmp_path, session=json.dumps(session)))
    assert recording.start_epoch_ns == (None if start_ms is None else start_ms * MS)
    assert recording.warnings == []


@pytest.mark.parametrize('value', [None, 'noon', math.inf, math.nan, -5, True, [1], {'a': 1},
                                   10 ** 400])
def test_an_odd_start_costs_itself(tmp_path: Path, value: Any) -> None:
    session = json.dumps({'recordingStartTime': {'msecSinceEpoch': value}})
    recording = opened(daq(tmp_path, session=session))
    assert recording.start_epoch_ns is None
    warning, = recording.warnings
    assert str(tmp_path / 'metaData.json') in warning
    assert 'recordingStartTime.msecSinceEpoch' in warning


@pytest.mark.parametrize('value', ['noon', None, 7])
def test_an_odd_holder_of_the_start_costs_itself(tmp_path: Path, value: Any) -> None:
    recording = opened(daq(tmp_path, session=json.dumps({'recordingStartTime': value})))
    assert recording.start_epoch_ns is None
    assert 'recordingStartTime cannot be' in recording.warnings[0]


@pytest.mark.parametrize('key, value', [
    ('framesPerFile', None), ('framesPerFile', '1000 frames'), ('framesPerFile', 1e999),
    ('framesPerFile', 0), ('deviceType', None), ('deviceType', 4), ('frameRate', None),
    ('frameRate', 'fast'), ('frameRate', '0FPS'), ('gain', None), ('led0', {'value': 5}),
    ('ewl', [0])])
def test_an_odd_value_of_the_device_costs_itself(
        tmp_path: Path, key: str, value: Any) -> None:
    known = {'deviceType': 'Miniscope_V4_BNO', 'frameRate': '20FPS', 'led0': 5, 'ewl': 0,
             'gain': 'Low', 'framesPerFile': 1000}
    recording = opened(daq(tmp_path, device=json.dumps({**known, key: value})))
    warning, = recording.warnings
    assert str(tmp_path / 'scope' / 'metaData.json') in warning and f'{key} cannot be' in warning
    assert recording.device_type == ('' if key == 'deviceType' else 'Miniscope_V4_BNO')
    assert recording.frame_rate == 20.0
    assert {name: text for name, text in recording.controls.items() if name != key} == {
        name: str(known[name]) for name in ('led0', 'ewl', 'gain', 'frameRate') if name != key}
    assert recording.start_epoch_ns == START_MS * MS


@pytest.mark.parametrize('content', [
    '[' * 100_000, '{"a":' * 100_000, '[1, 2]', 'null', '{', '\x00', '"text"'],
    ids=['lists', 'objects', 'list', 'null', 'open', 'zero', 'text'])
def test_metadata_that_are_none_cost_themselves(tmp_path: Path, content: str) -> None:
    recording = opened(daq(tmp_path, device=content, session=content))
    assert len(recording.warnings) == 2
    assert (recording.device_type, recording.start_epoch_ns) == ('', None)


def test_metadata_of_many_gigabytes_are_not_read(tmp_path: Path) -> None:
    scope = daq(tmp_path)
    with (scope / 'metaData.json').open('r+b') as file:
        file.truncate(1 << 40)  # a hole, which takes no room on the disk
    recording = opened(scope)
    assert 'bytes, where at most' in recording.warnings[0]


# Syntalos

def syntalos(root: Path) -> tuple[Path, Path]:
    """Write a recording of twenty frames; return its folder and its time map."""
    write_syntalos(root, [scenes(20)], [TIMES_US])
    return root, root / 'videos' / 'miniscope' / 'scope_0.tsync'


def times_us(recording: Recording) -> list[int]:
    return [frame.time_ns // 1000 for frame in recording.frames()]


@pytest.mark.parametrize('cut', [9, 30, 70, 100])
def test_a_time_map_cut_off_is_used_as_far_as_it_goes(tmp_path: Path, cut: int) -> None:
    root, time_map = syntalos(tmp_path / 'run')
    time_map.write_bytes(time_map.read_bytes()[:-cut])
    recording = opened(root)
    found = times_us(recording)
    assert found == TIMES_US[:len(found)] and 8 <= len(found) < 20
    assert any(str(time_map) in warning and f'first {len(found)} times' in warning
               for warning in recording.warnings)
    assert recording.start_epoch_ns is not None


@pytest.mark.parametrize('fault', ['missing', 'empty', 'cut in its head', 'folder', 'zeros'])
def test_without_a_time_map_the_times_in_the_video_are_used(tmp_path: Path, fault: str) -> None:
    root, time_map = syntalos(tmp_path / 'run')
    whole = time_map.read_bytes()
    time_map.unlink()
    if fault == 'folder':
        time_map.mkdir()
    elif fault != 'missing':
        time_map.write_bytes({'empty': b'', 'zeros': bytes(len(whole))}.get(fault, whole[:40]))
    recording = opened(root)
    assert times_us(recording) == TIMES_US
    assert any(str(time_map) in warning for warning in recording.warnings)
    assert any('the times in the video' in warning for warning in recording.warnings)


def test_a_first_section_without_frames_costs_nothing(tmp_path: Path) -> None:
    root = write_syntalos(tmp_path / 'run', [scenes(5), scenes(5)], [[], TIMES_US[:5]])
    (root / 'videos' / 'miniscope' / 'scope_0.mkv').write_bytes(b'')
    recording = opened(root)
    assert times_us(recording) == TIMES_US[:5]
    assert recording.start_epoch_ns is not None


def test_a_later_map_that_is_missing_costs_its_own_times(tmp_path: Path) -> None:
    root = write_syntalos(tmp_path / 'run', [scenes(5), scenes(5)], [TIMES_US[:5], TIMES_US[5:10]])
    (root / 'videos' / 'miniscope' / 'scope_1.tsync').unlink()
    assert times_us(opened(root)) == TIMES_US[:10]


@pytest.mark.parametrize('text', [
    "[video]\nframerate = 'fast'\n", '[video]\nframerate = [20]\n', "video = 'yes'\n",
    '[video]\nframerate = inf\n'])
def test_odd_attributes_of_a_video_cost_themselves(tmp_path: Path, text: str) -> None:
    root, _ = syntalos(tmp_path / 'run')
    (root / 'videos' / 'miniscope' / 'attributes.toml').write_text(text)
    recording = opened(root)
    assert recording.frame_rate == pytest.approx(20.0)
    assert any('attributes.toml: video' in warning for warning in recording.warnings)


def test_a_dataset_that_cannot_be_read_costs_itself(tmp_path: Path) -> None:
    root, _ = syntalos(tmp_path / 'run')
    (root / 'events').mkdir()
    (root / 'events' / 'manifest.toml').write_text('type = [')
    recording = opened(root)
    assert any('events cannot be read' in warning for warning in recording.warnings)
