# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The session file: who and what is recorded, from which scopes and cameras, and to where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
import re
from typing import Any

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.free_name import free_name
from miniscope_ros.regular import read_text
from miniscope_ros.yaml_text import read_yaml

SESSION_KEYS = (
    'researcher', 'experiment', 'animal', 'species', 'sex', 'age', 'genotype', 'indicator',
    'brain_area', 'notes')
PRESETS = ('none', 'fastwrite', 'zstd_fast', 'zstd_small')
"""Of rosbag2's mcap storage; the built-in recorder compresses with the last two."""
RECORDERS = ('auto', 'rosbag2', 'builtin')
FIELDS = ('animal', 'date', 'time', 'experiment')
_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
_LARGEST_FILE = 1 << 20  # bytes


@dataclass(frozen=True)
class RecordSettings:
    """The section `record`."""

    folder: str = 'recordings/{animal}/{date}_{time}'
    recorder: str = 'auto'
    storage: str = 'none'
    storage_config: str = ''  # a file with settings of rosbag2's storage
    split_minutes: float = 0.0  # 0: one file
    split_gb: float = 0.0  # [10^9 bytes]
    duration_minutes: float = 0.0  # 0: until it is stopped
    min_free_gb: float = 5.0  # [10^9 bytes] no recording begins with less
    stop_free_gb: float = 2.0  # [10^9 bytes] a recording ends in order with less
    restart: bool = True  # activate the scopes again, so that the first frame is frame 0
    display: bool = False  # record image_display, too


@dataclass(frozen=True)
class Device:
    """A scope or a camera: a node of ours, or any other one that publishes images."""

    name: str
    namespace: str = ''
    parameters: Mapping[str, Any] = field(default_factory=dict)
    params_file: str = ''
    package: str = ''  # empty: ours
    executable: str = ''
    topics: tuple[str, ...] = ()  # of a node that is not ours

    @property
    def node(self) -> str:
        """Return the full name of the node, as /lab/miniscope."""
        return '/' + '/'.join(filter(None, (*self.namespace.split('/'), self.name)))

    @property
    def is_ours(self) -> bool:
        """Whether it has our topics and a life cycle."""
        return not self.package

    @property
    def own_topics(self) -> tuple[str, ...]:
        """Return the full names of the topics of a node that is not ours."""
        return tuple(topic if topic.startswith('/') else f'{self.node}/{topic}'
                     for topic in self.topics)


@dataclass(frozen=True)
class SessionFile:
    """All that a session file says; content is the file itself."""

    session: Mapping[str, Any] = field(default_factory=dict)
    record: RecordSettings = RecordSettings()
    scopes: tuple[Device, ...] = ()
    cameras: tuple[Device, ...] = ()
    also: tuple[str, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def devices(self) -> tuple[Device, ...]:
        """Scopes and cameras."""
        return self.scopes + self.cameras


def read_session_file(path: Path) -> SessionFile:
    """Read and check a file. Raises ConfigurationError that names all problems."""
    try:
        content = read_yaml(read_text(path, _LARGEST_FILE))
    except OSError as error:
        raise ConfigurationError(f'{path} cannot be read: {error.strerror}') from error
    except ValueError as error:
        raise ConfigurationError(f'{path} is no YAML file: {error}') from error
    try:
        return parse_session(content)
    except ConfigurationError as error:
        raise ConfigurationError(f'{path}: {error}') from error


def parse_session(content: Any) -> SessionFile:
    """Return the content of a session file, checked. Raises ConfigurationError."""
    reader = _Reader()
    top = reader.section('', content, ('session', 'record', 'scopes', 'cameras', 'also'))
    result = SessionFile(
        reader.section('session', top.get('session'), None),
        reader.record(top.get('record')),
        reader.devices('scopes', top.get('scopes'), scopes=True),
        reader.devices('cameras', top.get('cameras'), scopes=False),
        reader.topics('also', top.get('also')), top)
    names = [device.node for device in result.devices]
    for name in sorted({name for name in names if names.count(name) > 1}):
        reader.complain('scopes and cameras', name, 'stands there twice: give each its own name')
    if not result.devices and not result.also:
        reader.complain('scopes', None, 'names nothing to record: list a scope, a camera or a '
                        'topic under `also`')
    if reader.problems:
        raise ConfigurationError('; '.join(reader.problems))
    return result


class _Reader:
    def __init__(self) -> None:
        self.problems: list[str] = []

    def complain(self, key: str, value: Any, remedy: str) -> None:
        shown = '' if value is None else f' is {value!r}'
        self.problems.append(f'{key or "the file"}{shown}: {remedy}')

    def section(self, key: str, data: Any, known: Sequence[str] | None) -> dict[str, Any]:
        """Return a mapping with keys that are texts; known None allows any."""
        if data is None:
            return {}
        if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
            self.complain(key, data, 'has to be lines of the form NAME: VALUE')
            return {}
        for name in data if known is not None else ():
            if name not in (known or ()):
                self.complain(f'{key}.{name}'.lstrip('.'), None,
                              f'is unknown; there are {", ".join(known or ())}')
        return data

    def record(self, data: Any) -> RecordSettings:
        defaults = RecordSettings()
        values = self.section('record', data, tuple(vars(defaults)))
        checked: dict[str, Any] = {}
        for name, value in values.items():
            default = getattr(defaults, name, None)
            key = f'record.{name}'
            if isinstance(default, bool):
                if not isinstance(value, bool):
                    self.complain(key, value, 'has to be true or false')
                    continue
            elif isinstance(default, float):
                if isinstance(value, bool) or not isinstance(value, (int, float)) or not \
                        0 <= value < 1e9:
                    self.complain(key, value, 'has to be a number, 0 or more')
                    continue
                value = float(value)
            elif not isinstance(value, str):
                self.complain(key, value, 'has to be a text')
                continue
            checked[name] = value
        for name, choices in (('storage', PRESETS), ('recorder', RECORDERS)):
            if checked.get(name, choices[0]) not in choices:
                self.complain(f'record.{name}', checked.pop(name),
                              f'has to be one of {", ".join(choices)}')
        if 'folder' in checked:
            self._check_template(checked['folder'])
        settings = RecordSettings(**{
            name: value for name, value in checked.items() if hasattr(defaults, name)})
        if settings.stop_free_gb > settings.min_free_gb:
            self.complain('record.stop_free_gb', settings.stop_free_gb,
                          f'has to be at most min_free_gb ({settings.min_free_gb:g}), or a '
                          'recording could end as soon as it has begun')
        return settings

    def _check_template(self, template: str) -> None:
        try:
            template.format(**dict.fromkeys(FIELDS, 'x'))
        except (KeyError, ValueError, IndexError, AttributeError):
            self.complain('record.folder', template, 'may hold '
                          + ', '.join(f'{{{name}}}' for name in FIELDS) + ' and nothing else in '
                          'braces')

    def devices(self, key: str, data: Any, *, scopes: bool) -> tuple[Device, ...]:
        if data is None:
            return ()
        if not isinstance(data, list):
            self.complain(key, data, 'has to be a list: one `- name: ..` for each')
            return ()
        return tuple(device for number, entry in enumerate(data)
                     if (device := self._device(f'{key}[{number}]', entry, scopes)) is not None)

    def _device(self, key: str, data: Any, is_scope: bool) -> Device | None:
        known = ['name', 'namespace', 'parameters', 'params_file']
        if not is_scope:
            known += ['package', 'executable', 'topics']
        entry = self.section(key, data, known)
        texts = {name: entry.get(name, '') for name in known if name not in (
            'parameters', 'topics')}
        for name, value in texts.items():
            if not isinstance(value, str):
                self.complain(f'{key}.{name}', value, 'has to be a text')
                return None
        if not _NAME.fullmatch(texts['name']):
            self.complain(f'{key}.name', texts['name'], 'has to be a letter, then letters, '
                          'digits and underscores')
            return None
        if not all(_NAME.fullmatch(part) for part in texts['namespace'].strip('/').split('/')
                   if part):
            self.complain(f'{key}.namespace', texts['namespace'], 'has to be names with / '
                          'between them')
            return None
        if bool(texts.get('package')) != bool(texts.get('executable')):
            self.complain(key, None, 'needs both package and executable, or neither for a '
                          'camera node of ours')
            return None
        parameters = self.section(f'{key}.parameters', entry.get('parameters'), None)
        topics = self.topics(f'{key}.topics', entry.get('topics'), relative=True)
        if texts.get('package') and not topics:
            topics = ('image_raw', 'camera_info')
        return Device(parameters=parameters, topics=topics, **texts)

    def topics(self, key: str, data: Any, *, relative: bool = False) -> tuple[str, ...]:
        if data is None:
            return ()
        if not isinstance(data, list) or not all(isinstance(topic, str) for topic in data):
            self.complain(key, data, 'has to be a list of topics')
            return ()
        for topic in data:
            if not re.fullmatch(r'/?[A-Za-z]\w*(/[A-Za-z]\w*)*', topic) or (
                    not relative and not topic.startswith('/')):
                self.complain(key, topic, 'has to be the full name of a topic, as /lab/door')
        return tuple(data)


def folder_name(settings: RecordSettings, session: Mapping[str, Any], name: str,
                now: datetime) -> Path:
    """
    Return the folder for a recording that begins now.

    name, where it is given, replaces the last part of the template, or all of it where it is an
    absolute path.
    """
    values = {'date': f'{now:%Y-%m-%d}', 'time': f'{now:%H-%M-%S}',
              'animal': _part(session.get('animal'), 'no_animal'),
              'experiment': _part(session.get('experiment'), 'no_experiment')}
    folder = Path(settings.folder.format(**values)).expanduser()
    if name:
        folder = folder.parent / Path(name).expanduser()
    return folder.absolute()


def unused(folder: Path) -> Path:
    """Return a folder that does not exist: this one, or with _2, _3, .. at its end."""
    return folder.with_name(
        free_name(folder.name, lambda name: folder.with_name(name).exists()))


def _part(value: Any, default: str) -> str:
    """Return a text that can be a part of a path."""
    return re.sub(r'[^\w.+-]+', '_', str(value if value is not None else '')).strip('._') \
        or default
