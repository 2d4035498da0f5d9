# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Session files: what is wrong is named by key and value, with a remedy, all at once."""
from datetime import datetime
import os
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.session.session_file import (
    folder_name,
    parse_session,
    read_session_file,
    RecordSettings,
)
import pytest
import yaml

SCOPE = {'scopes': [{'name': 'a'}]}
NOW = datetime(2026, 11, 26, 5, 4, 31)

FAULTS: list[tuple[Any, str]] = [
    (None, 'scopes: names nothing to record: list a scope'),
    ([], 'the file is []: has to be lines of the form NAME: VALUE'),
    ({**SCOPE, 'sesion': {}}, 'sesion: is unknown; there are session, record'),
    ({**SCOPE, 'record': {'folde': 'x'}}, 'record.folde: is unknown; there are folder'),
    ({**SCOPE, 'record': {'folder': '{mouse}'}}, "record.folder is '{mouse}': may hold {animal}"),
    ({**SCOPE, 'record': {'folder': '{animal.x}'}}, 'may hold {animal}'),
    ({**SCOPE, 'record': {'folder': 5}}, 'record.folder is 5: has to be a text'),
    ({**SCOPE, 'record': {'split_minutes': -1}}, 'record.split_minutes is -1: has to be a number'),
    ({**SCOPE, 'record': {'split_minutes': True}}, 'record.split_minutes is True'),
    ({**SCOPE, 'record': {'min_free_gb': float('nan')}}, 'record.min_free_gb is nan'),
    ({**SCOPE, 'record': {'restart': 'yes'}}, "record.restart is 'yes': has to be true or false"),
    ({**SCOPE, 'record': {'storage': 'zip'}}, "record.storage is 'zip': has to be one of none"),
    ({**SCOPE, 'record': {'recorder': 'vcr'}}, "record.recorder is 'vcr': has to be one of auto"),
    ({**SCOPE, 'record': {'stop_free_gb': 9}}, 'record.stop_free_gb is 9.0: has to be at most'),
    ({'scopes': {'name': 'a'}}, 'has to be a list: one `- name: ..` for each'),
    ({'scopes': [{}]}, "scopes[0].name is '': has to be a letter"),
    ({'scopes': [{'name': 'a b'}]}, "scopes[0].name is 'a b'"),
    ({'scopes': [{'name': 7}]}, 'scopes[0].name is 7: has to be a text'),
    ({'scopes': [{'name': 'a', 'namespace': '1'}]}, "scopes[0].namespace is '1'"),
    ({'scopes': [{'name': 'a'}, {'name': 'a'}]}, "scopes and cameras is '/a': stands there tw"),
    ({'scopes': [{'name': 'a', 'package': 'x'}]}, 'scopes[0].package: is unknown'),
    ({'cameras': [{'name': 'a', 'package': 'x'}]}, 'cameras[0]: needs both package and exec'),
    ({'scopes': [{'name': 'a', 'parameters': 3}]}, 'scopes[0].parameters is 3'),
    ({**SCOPE, 'also': 'door'}, "also is 'door': has to be a list of topics"),
    ({**SCOPE, 'also': ['door']}, "also is 'door': has to be the full name of a topic"),
]


@pytest.mark.parametrize('content, said', FAULTS)
def test_a_fault_is_named_with_its_remedy(content: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        parse_session(content)
    assert said in str(error.value)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as error:
        parse_session({'x': 1, 'record': {'y': 1, 'storage': 'z'}, 'scopes': [{'name': ''}]})
    assert str(error.value).count(';') >= 3


def test_a_whole_file(tmp_path: Path) -> None:
    file = tmp_path / 'session.yaml'
    file.write_text("""
session: {animal: m 1/2, cage: 7}
record: {folder: "/data/{animal}/{experiment}_{date}_{time}", split_minutes: 10}
scopes:
- {name: scope, namespace: lab, parameters: {led: 20}}
cameras:
- {name: behaviour, parameters: {source: camera, device: '0'}}
- {name: side, package: usb_cam, executable: usb_cam_node_exe}
also: [/lab/door]
""")
    session = read_session_file(file)
    assert session.session['cage'] == 7
    assert session.record.split_minutes == 10.0
    assert [device.node for device in session.devices] == ['/lab/scope', '/behaviour', '/side']
    assert [device.is_ours for device in session.devices] == [True, True, False]
    assert session.cameras[1].own_topics == ('/side/image_raw', '/side/camera_info')
    folder = folder_name(session.record, session.session, '', NOW)
    assert folder == Path('/data/m_1_2/no_experiment_2026-11-26_05-04-31')
    assert folder_name(session.record, session.session, 'x', NOW) == Path('/data/m_1_2/x')
    assert folder_name(session.record, session.session, '/y', NOW) == Path('/y')


@pytest.mark.parametrize('content', [
    'a: [', '\0', '[' * 100_000, 'a: !!int ""', 'a: !!bool b', 'a: !!timestamp b'])
def test_a_file_that_is_no_yaml_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / 's.yaml').write_text(content)
    with pytest.raises(ConfigurationError, match='s.yaml is no YAML file'):
        read_session_file(tmp_path / 's.yaml')
    with pytest.raises(ConfigurationError, match='none.yaml cannot be read: No such file'):
        read_session_file(tmp_path / 'none.yaml')


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path / 'pipe', Path('/dev/zero'), tmp_path):
        with pytest.raises(ConfigurationError, match=f'{path} cannot be read: it is a '):
            read_session_file(path)


@given(st.text())
def test_no_name_of_an_animal_leaves_the_folder(animal: str) -> None:
    folder = folder_name(RecordSettings(folder='/data/{animal}/x'), {'animal': animal}, '', NOW)
    assert folder.parent.parent == Path('/data')
    assert '..' not in folder.parts


def test_the_example_of_the_documentation_is_valid() -> None:
    text = (Path(__file__).parents[2] / 'docs' / 'recording.md').read_text(encoding='utf-8')
    example = text.partition('```yaml\n')[2].partition('```')[0]
    session = parse_session(yaml.safe_load(example))
    assert [device.node for device in session.devices] == ['/lab/scope1', '/behaviour', '/side']


def test_every_key_of_the_section_record_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / 'docs' / 'recording.md').read_text(encoding='utf-8')
    table = text.partition('## The section `record`')[2].partition('\nThe images')[0]
    rows = [line.split('|')[1:3] for line in table.splitlines() if line.startswith('| ')][1:]
    told = {key.strip(): value.strip() for keys, value in rows for key in keys.split(',')}
    defaults = vars(RecordSettings())
    assert set(told) == set(defaults)
    for key, value in defaults.items():
        shown = str(value).lower() if isinstance(value, bool) else \
            f'{value:g}' if isinstance(value, float) else value
        assert told[key] == shown, key
