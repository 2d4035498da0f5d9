# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The metadata of the Miniscope-DAQ software, in any of its versions or edited by hand.

A value that cannot be used costs itself: it is as if it was not there, and a warning names the
file and the key.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
import re
from typing import Any

from miniscope_ros.regular import read_text

_FILE = 'metaData.json'
_LARGEST = 1 << 24  # bytes
_START = 'recordingStartTime'
_START_KEY = 'msecSinceEpoch'
_LATEST_START_MS = 4_000_000_000_000  # [ms] since 1970: the year 2096
_MOST_FRAMES_PER_FILE = 10_000_000
_SHOWN = 40  # characters of a value in a warning
_CONTROLS = ('led0', 'ewl', 'gain', 'frameRate')


class Metadata:
    """One metaData.json; empty where there is none or it cannot be read."""

    def __init__(self, folder: Path, warnings: list[str]) -> None:
        """Read it; what is wrong is added to the warnings."""
        self._file = folder / _FILE
        self._warnings = warnings
        self._values = self._read()

    def device_type(self) -> str:
        """Return the type of the scope; empty where it is unknown."""
        value = self._values.get('deviceType', '')
        return value if isinstance(value, str) else str(self._unusable('deviceType', value, ''))

    def frames_per_file(self, default: int) -> int:
        """Return how many frames a full video file has."""
        value = self._values.get('framesPerFile', default)
        number = _number(value)
        if 1 <= number <= _MOST_FRAMES_PER_FILE:
            return int(number)
        return int(self._unusable('framesPerFile', value, default))

    def frame_rate(self) -> float:
        """Return the set rate [frames/s], recorded as "20FPS" or a number; NaN if unknown."""
        if 'frameRate' not in self._values:
            return math.nan
        value = self._values['frameRate']
        match = re.match(r'\s*(\d+(\.\d+)?)\s*(FPS)?\s*$', str(value), re.IGNORECASE)
        rate = float(match[1]) if match else math.nan
        return rate if 0 < rate < 1e6 else self._unusable('frameRate', value, math.nan)

    def start_epoch_ns(self) -> int | None:
        """Return the recording's start since 1970 [ns]; None if unknown."""
        holder, key = self._values, _START_KEY
        if isinstance(self._values.get(_START), dict):
            holder, key = self._values[_START], f'{_START}.{_START_KEY}'
        elif _START in self._values and _START_KEY not in self._values:
            self._unusable(_START, self._values[_START], None)
            return None
        if _START_KEY not in holder:  # at the top level until 2020
            return None
        number = _number(holder[_START_KEY])
        if 0 < number < _LATEST_START_MS:
            return int(number) * 1_000_000
        self._unusable(key, holder[_START_KEY], None)
        return None

    def controls(self) -> dict[str, str]:
        """Return the values of the controls as they were written."""
        values = {}
        for name in _CONTROLS:
            value = self._values.get(name)
            if isinstance(value, (str, int, float)) and not (
                    isinstance(value, float) and not math.isfinite(value)):
                values[name] = str(value)
            elif name in self._values:
                self._unusable(name, value, None)
        return values

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(read_text(self._file, _LARGEST))
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._warn(f'{self._file} cannot be read: {error.strerror}')
            return {}
        except RecursionError:
            self._warn(f'{self._file} cannot be read: it is nested too deeply')
            return {}
        except ValueError as error:
            self._warn(f'{self._file} cannot be read: {error}')
            return {}
        if isinstance(content, dict):
            return content
        self._warn(f'{self._file} cannot be read: it is no object of keys and values')
        return {}

    def _unusable(self, key: str, value: Any, instead: Any) -> Any:
        try:
            shown = json.dumps(value)
        except (ValueError, RecursionError):
            shown = 'a value that is nested too deeply'
        shown = shown if len(shown) <= _SHOWN else f'{shown[:_SHOWN]}..'
        self._warn(f'{self._file}: {key} cannot be {shown}; it is left out')
        return instead

    def _warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.append(text)


def _number(value: Any) -> float:
    """Return a value as a number; NaN where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan
