# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Folders as the Miniscope-DAQ software writes them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
import json
import math
from pathlib import Path
import shutil
from typing import Any

from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.recordings.bag.tables import RecordedAcquisition
from miniscope_ros.recordings.export.frame_facts import filled_counts, frames_of_images, readings
from miniscope_ros.recordings.export.places import Place, Places
from miniscope_ros.recordings.export.session import is_camera
from miniscope_ros.recordings.export.session_data import SessionData
from miniscope_ros.recordings.export.tables import write_tables
from miniscope_ros.recordings.export.videos import CODECS, VideoFiles
import numpy as np
from numpy.typing import NDArray

_GAINS = ('Low', 'Medium', 'High')
_DEVICE_KEYS = {'led': 'led0', 'led2': 'led1', 'focus': 'ewl'}


class MiniscopeDaqWriter:
    """The folder of one scope: videos, time stamps, orientation, metadata."""

    def __init__(self, folder: Path, acquisition: RecordedAcquisition, place: Place,
                 codec: str = 'ffv1', frames_per_file: int = 1000) -> None:
        """Make the folder of the acquisition in that of the export."""
        self._folder = folder / place.folder
        self._place = place
        self._counts, _ = filled_counts(frames_of_images(acquisition)[0])
        self._acquisition = acquisition
        # Exactly 0 for the scope that started first.
        self._offset_ms = (acquisition.start_ns - place.start_ns) / 1e6
        self._codec = codec
        self._frames_per_file = frames_per_file
        self._count = 0
        self._shape: tuple[int, ...] = ()
        self._folder.mkdir(parents=True)
        self._videos = VideoFiles(self._folder, codec, frames_per_file)
        self._stamps = (self._folder / 'timeStamps.csv').open('w', encoding='ascii')
        self._stamps.write('Frame Number,Time Stamp (ms),Buffer Index,DAQ Frame Number\n')

    def add(self, image: NDArray[np.uint8], row: int) -> None:
        """Append the image of a row; ConfigurationError for one that the files cannot hold."""
        self._videos.add(image)
        self._shape = image.shape
        time_ms = float(self._acquisition.images['time_ms'][row])
        self._stamps.write(f'{self._count},{round(time_ms + self._offset_ms)},0,'
                           f'{self._counts[row]}\n')
        self._count += 1

    def finish(self, rows: NDArray[np.intp]) -> None:
        """Write what is left; DeviceError if a video is not what was written."""
        self._videos.finish()
        self._stamps.close()
        orientation, _ = readings(self._acquisition)
        if len(orientation):
            with (self._folder / 'headOrientation.csv').open('w', encoding='ascii') as file:
                file.write('Time Stamp (ms),qw,qx,qy,qz\n')
                for _, time_ms, *quaternion in orientation.tolist():
                    file.write(f'{round(time_ms + self._offset_ms)},'
                               f'{",".join(map(repr, quaternion))}\n')
        write_tables(self._folder, self._acquisition, self._place.notes, self._place.start_ns,
                     rows)
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
            'deviceName': self._place.device,
            'deviceID': self._place.device_id,
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


def write_sessions(folder: Path, made: Iterable[RecordedAcquisition], places: Places,
                   data: SessionData) -> None:
    """
    Write what stands above the devices' folders; made are the acquisitions that have one.

    userConfig.json is as neuroconv's MiniscopeConverter reads it. That looks for each device in
    the folders of all sessions.
    """
    devices: dict[str, dict[str, Any]] = {'miniscopes': {}, 'cameras': {}}
    sessions = places.sessions(made)
    for session, acquisitions in sessions.items():
        names: dict[str, list[str]] = {kind: [] for kind in devices}
        for one in acquisitions:
            place = places[one]
            kind = 'cameras' if is_camera(one) else 'miniscopes'
            names[kind].append(place.device)
            devices[kind].setdefault(place.device, json.loads(
                (folder / place.folder / 'metaData.json').read_text(encoding='utf-8')))
        start_ns = places[acquisitions[0]].start_ns
        _write_json(folder / session / 'metaData.json', _session_metadata(data, start_ns) | names)
    structure = ['date', 'time'] if any(sessions) else []
    _write_json(folder / 'userConfig.json', {
        **_people(data), 'dataDirectory': '.', 'directoryStructure': structure,
        'devices': devices})


def _session_metadata(data: SessionData, start_ns: int) -> dict[str, Any]:
    """Return who and what was recorded; start_ns is the zero of all times of the session."""
    start = datetime.fromtimestamp(start_ns // 10**9)
    milliseconds = start_ns // 10**6
    more = {key: value for key, value in (
        ('species', data.species), ('sex', data.sex), ('age', data.age),
        ('genotype', data.genotype), ('indicator', data.indicator),
        ('brainArea', data.location), ('notes', data.notes), *data.more) if value}
    return {
        **more, **_people(data),
        'recordingStartTime': {
            'year': start.year, 'month': start.month, 'day': start.day, 'hour': start.hour,
            'minute': start.minute, 'second': start.second, 'msec': milliseconds % 1000,
            'msecSinceEpoch': milliseconds}}


def _people(data: SessionData) -> dict[str, str]:
    return {'researcherName': data.researcher, 'animalName': data.animal,
            'experimentName': data.experiment}


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
