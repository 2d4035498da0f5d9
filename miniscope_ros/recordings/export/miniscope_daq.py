# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Folders as the Miniscope-DAQ software writes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
import json
import math
from pathlib import Path
import shutil
from typing import Any

from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.recordings.bag.tables import RecordedAcquisition, RecordedNote
from miniscope_ros.recordings.export.frame_facts import filled_counts, frames_of_images, readings
from miniscope_ros.recordings.export.session_data import SessionData
from miniscope_ros.recordings.export.tables import write_tables
from miniscope_ros.recordings.export.videos import CODECS, VideoFiles
import numpy as np
from numpy.typing import NDArray

_GAINS = ('Low', 'Medium', 'High')
_DEVICE_KEYS = {'led': 'led0', 'led2': 'led1', 'focus': 'ewl'}


class MiniscopeDaqWriter:
    """The folder of one scope: videos, time stamps, orientation, metadata."""

    def __init__(self, folder: Path, acquisition: RecordedAcquisition, recording_start_ns: int,
                 device_id: int, codec: str = 'ffv1', frames_per_file: int = 1000,
                 notes: Sequence[RecordedNote] = ()) -> None:
        """Make the folder; recording_start_ns is the zero of its times."""
        self._folder = folder
        self._start_ns = recording_start_ns
        self._notes = list(notes)
        self._counts, _ = filled_counts(frames_of_images(acquisition)[0])
        self._acquisition = acquisition
        # Exactly 0 for the scope that started first.
        self._offset_ms = (acquisition.start_ns - recording_start_ns) / 1e6
        self._device_id = device_id
        self._codec = codec
        self._frames_per_file = frames_per_file
        self._count = 0
        self._shape: tuple[int, ...] = ()
        folder.mkdir()
        self._videos = VideoFiles(folder, codec, frames_per_file)
        self._stamps = (folder / 'timeStamps.csv').open('w', encoding='ascii')
        self._stamps.write('Frame Number,Time Stamp (ms),Buffer Index,DAQ Frame Number\n')

    def add(self, image: NDArray[np.uint8], row: int) -> None:
        """Append the image of a row; ConfigurationError for one that the files cannot hold."""
        self._videos.add(image)
        self._shape = image.shape
        time_ms = float(self._acquisition.images['time_ms'][row])
        self._stamps.write(f'{self._count},{round(time_ms + self._offset_ms)},0,'
                           f'{self._counts[row]}\n')
        self._count += 1

    def finish(self) -> None:
        """Write what is left; DeviceError if a video is not what was written."""
        self._videos.finish()
        self._stamps.close()
        rows, _ = readings(self._acquisition)
        if len(rows):
            with (self._folder / 'headOrientation.csv').open('w', encoding='ascii') as file:
                file.write('Time Stamp (ms),qw,qx,qy,qz\n')
                for _, time_ms, *quaternion in rows.tolist():
                    file.write(f'{round(time_ms + self._offset_ms)},'
                               f'{",".join(map(repr, quaternion))}\n')
        write_tables(self._folder, self._acquisition, self._notes, self._start_ns)
        _write_json(self._folder / 'metaData.json', self._metadata())

    def discard(self) -> None:
        """Close and delete what has been written."""
        self._videos.release()
        self._stamps.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _metadata(self) -> dict[str, Any]:
        acquisition = self._acquisition
        height, width = self._shape[:2]
        metadata: dict[str, Any] = {
            'deviceName': acquisition.name,
            'deviceID': self._device_id,
            'framesPerFile': self._frames_per_file,
            'compression': CODECS[self._codec],
            'ROI': {'leftEdge': 0, 'topEdge': 0, 'width': width, 'height': height},
        }
        if acquisition.device_type:  # a reader takes an empty text for a type
            metadata['deviceType'] = acquisition.device_type
        metadata.update(device_settings(acquisition))
        return metadata


def device_settings(acquisition: RecordedAcquisition) -> dict[str, str | int]:
    """
    Return the controls in force as the format names and types them.

    Its LED values are whole numbers; a fraction is rounded, but a lit LED is never shown as 0.
    """
    settings: dict[str, str | int] = {}
    rate = acquisition.controls.get('frame_rate', acquisition.frame_rate)
    if math.isfinite(rate):
        settings['frameRate'] = f'{rate:g}FPS'
    for control, value in acquisition.controls.items():
        if control == 'gain':
            settings['gain'] = _gain(acquisition.device_type, value)
        elif control == 'focus':
            settings[_DEVICE_KEYS[control]] = round(value)
        elif control in _DEVICE_KEYS:
            settings[_DEVICE_KEYS[control]] = round(value) or math.ceil(value)
    return settings


def write_session(folder: Path, scopes: list[str], cameras: list[str], start_ns: int,
                  session: SessionData) -> None:
    """
    Write what stands above the devices' folders; start_ns is the zero of all their times.

    userConfig.json is as neuroconv's MiniscopeConverter reads it.
    """
    start = datetime.fromtimestamp(start_ns // 10**9)
    milliseconds = start_ns // 10**6
    people = {'researcherName': session.researcher, 'animalName': session.animal,
              'experimentName': session.experiment}
    more = {key: value for key, value in (
        ('species', session.species), ('sex', session.sex), ('age', session.age),
        ('genotype', session.genotype), ('indicator', session.indicator),
        ('brainArea', session.location), ('notes', session.notes), *session.more) if value}
    _write_json(folder / 'metaData.json', {
        **more, **people,
        'recordingStartTime': {
            'year': start.year, 'month': start.month, 'day': start.day, 'hour': start.hour,
            'minute': start.minute, 'second': start.second, 'msec': milliseconds % 1000,
            'msecSinceEpoch': milliseconds},
        'miniscopes': scopes, 'cameras': cameras})
    _write_json(folder / 'userConfig.json', {
        **people, 'dataDirectory': '.', 'directoryStructure': [],
        'devices': {'miniscopes': _configs(folder, scopes), 'cameras': _configs(folder, cameras)},
    })


def _configs(folder: Path, names: list[str]) -> dict[str, Any]:
    return {name: json.loads((folder / name / 'metaData.json').read_text(encoding='utf-8'))
            for name in names}


def _gain(device_type: str, value: float) -> str:
    """Return Low, Medium or High where the type has three gains, else the number."""
    known = load_catalogue().get(device_type)
    gain = known.controls.get('gain') if known else None
    choices = sorted(gain.choices or ()) if gain else []
    if len(choices) == len(_GAINS) and value in choices:
        return _GAINS[choices.index(value)]
    return f'{value:g}'


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=4) + '\n', encoding='utf-8')
