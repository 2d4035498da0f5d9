# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Who and what was recorded: from the recording, or from a file of the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
import math
from pathlib import Path
import re
from typing import Any

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.regular import read_text
import yaml

_LARGEST = 1 << 20  # bytes
_SPECIES = {'mouse': 'Mus musculus', 'mice': 'Mus musculus', 'rat': 'Rattus norvegicus',
            'zebra finch': 'Taeniopygia guttata', 'human': 'Homo sapiens'}
_SEXES = {'m': 'M', 'male': 'M', 'f': 'F', 'female': 'F', 'o': 'O', 'other': 'O', 'u': 'U',
          'unknown': 'U'}
_UNITS = {'d': 'D', 'day': 'D', 'w': 'W', 'week': 'W', 'month': 'M', 'y': 'Y', 'year': 'Y'}
_ISO_AGE = re.compile(r'P(\d+(\.\d+)?[YMWD])+(/(P(\d+(\.\d+)?[YMWD])+)?)?')
_AGE = re.compile(r'(\d+(?:\.\d+)?)\s*([a-z]+?)s?')


@dataclass(frozen=True)
class SessionData:
    """What is known of a session; texts are empty where nothing is known."""

    researcher: str = ''
    experiment: str = ''
    animal: str = ''
    species: str = ''  # in Latin, where it could be translated
    sex: str = ''  # M, F, O or U
    age: str = ''  # ISO 8601, as P90D
    genotype: str = ''
    indicator: str = ''
    location: str = ''  # in the brain
    excitation_nm: float = math.nan
    emission_nm: float = math.nan
    notes: str = ''
    lab: str = ''
    institution: str = ''
    more: tuple[tuple[str, str], ...] = ()  # what else was said


def session_data(recorded: Mapping[str, Any], file: Path | None = None, animal: str = '',
                 ) -> SessionData:
    """
    Return what the recording says, a file replacing its values, and a name replacing both.

    ConfigurationError where the file cannot be used, with all that is wrong in it.
    """
    section = recorded.get('session')
    values = dict(section) if isinstance(section, Mapping) else {}
    if notes := recorded.get('recording_notes'):
        values['notes'] = '\n'.join(filter(None, (_text(values.get('notes')), _text(notes))))
    problems: list[str] = []
    found = _parsed(values, [])  # a recording is not refused for what stands in it
    if file is not None:
        found |= _parsed(_read(file), problems)
    if problems:
        raise ConfigurationError(f'{file}: ' + '; '.join(problems))
    if animal:
        found['animal'] = animal
    return SessionData(**found)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(read_text(file, _LARGEST))
    except OSError as error:
        raise ConfigurationError(f'{file} cannot be read: {error.strerror}') from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # 2026-99-99, for one
        raise ConfigurationError(
            f'{file} is no YAML file: {" ".join(str(error).split())}') from error
    if isinstance(content, Mapping) and isinstance(content.get('session'), Mapping):
        content = content['session']  # a session file
    if not isinstance(content, Mapping):
        raise ConfigurationError(f'{file} has to be lines of the form NAME: VALUE')
    return content


def _parsed(values: Mapping[Any, Any], problems: list[str]) -> dict[str, Any]:
    known = {field.name for field in fields(SessionData)} - {
        'more', 'excitation_nm', 'emission_nm'}
    found: dict[str, Any] = {}
    more = []
    for key, value in values.items():
        name = 'location' if key == 'brain_area' else str(key)
        text = _text(value)
        if name == 'wavelengths':
            found |= _wavelengths(value, problems)
        elif name in known and text:
            check = _CHECKS.get(name)
            found[name] = check(text, problems) if check else text
        elif text:
            more.append((name, text))
    if more:
        found['more'] = tuple(more)
    return found


def _wavelengths(value: Any, problems: list[str]) -> dict[str, float]:
    """Read [470, 525] or {excitation: 470, emission: 525} [nm]."""
    pair = [value.get('excitation'), value.get('emission')] if isinstance(
        value, Mapping) else value
    try:
        excitation, emission = map(float, pair)
    except (TypeError, ValueError):
        problems.append(f'wavelengths is {value!r}: it has to be two numbers [nm], excitation '
                        'and emission, as [470, 525]')
        return {}
    return {'excitation_nm': excitation, 'emission_nm': emission}


def _species(text: str, problems: list[str]) -> str:
    return _SPECIES.get(text.lower(), text)


def _sex(text: str, problems: list[str]) -> str:
    if text.lower() not in _SEXES:
        problems.append(f'sex is {text!r}: it has to be M, F, O (other) or U (unknown)')
        return ''
    return _SEXES[text.lower()]


def _age(text: str, problems: list[str]) -> str:
    if _ISO_AGE.fullmatch(text):
        return text
    match = _AGE.fullmatch(text.lower())
    unit = _UNITS.get(match[2]) if match else None
    if match is None or unit is None:
        problems.append(f'age is {text!r}: write 90 days, 12 weeks, or P90D as in ISO 8601')
        return ''
    return f'P{match[1]}{unit}'


_CHECKS = {'species': _species, 'sex': _sex, 'age': _age}


def _text(value: Any) -> str:
    return '' if value is None else str(value).strip()
