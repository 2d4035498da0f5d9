# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""NWB files (Neurodata Without Borders) of a scope's frames, with pynwb and ndx-miniscope."""

from __future__ import annotations

from datetime import datetime, timezone
import math
from pathlib import Path
from typing import Any
from uuid import uuid4

import h5py
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.bag.tables import RecordedAcquisition
from miniscope_ros.recordings.export.miniscope_daq import device_settings
from ndx_miniscope import Miniscope
import numpy as np
from numpy.typing import NDArray
from pynwb import H5DataIO, NWBFile, NWBHDF5IO, TimeSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.ophys import OnePhotonSeries, OpticalChannel

_UNKNOWN = 'unknown'
_SERIES = 'OnePhotonSeries'
_GZIP_LEVEL = 1  # higher ones take twice the time for a few percent
_EVIDENCE = ('none', 'sequence', 'counter', 'time', 'damaged')  # as in FrameInfo.msg


class NwbWriter:
    """
    The file of one scope; zero of its times is frame_index 0.

    All but the images is written when the first image comes. Then the images are appended one by
    one, each a chunk of its own, so that the memory does not grow.
    """

    def __init__(
        self, path: Path, acquisition: RecordedAcquisition, session: str, animal: str,
    ) -> None:
        """Take note of what to write; nothing is written before the first frame."""
        self._path = path
        self._acquisition = acquisition
        self._session = session
        self._animal = animal
        self._file: h5py.File | None = None
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def add(self, image: NDArray[np.uint8], time_ms: float, device_frame_count: int) -> None:
        """Append a frame; ConfigurationError for one that the file cannot hold."""
        if self._file is None:
            if image.ndim != 2:
                raise ConfigurationError('NWB takes grey frames only; a colour recording can be '
                                         'exported with --format miniscope_daq')
            self._shape = image.shape
            self._write_frame_of_file()
            self._file = h5py.File(self._path, 'a')
        if image.shape != self._shape:
            raise ConfigurationError(f'the image size changes from {self._shape} to '
                                     f'{image.shape} at frame {self._count}')
        series = self._file['acquisition'][_SERIES]
        for name, value in (('data', image.T), ('timestamps', time_ms / 1000)):
            series[name].resize(self._count + 1, axis=0)
            series[name][self._count] = value
        self._count += 1

    def finish(self) -> None:
        """Write what is left."""
        assert self._file is not None
        self._file.close()

    def discard(self) -> None:
        """Close and delete what has been written."""
        if self._file is not None:
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _write_frame_of_file(self) -> None:
        acquisition = self._acquisition
        start = datetime.fromtimestamp(acquisition.start_ns / 1e9, timezone.utc).astimezone()
        file = NWBFile(
            session_description=f'{acquisition.scope} in the ROS 2 recording {self._session}',
            identifier=str(uuid4()), session_start_time=start,
            session_id=f'{self._session}_{acquisition.name}',
            # Archives ask for an animal; of it a recording knows nothing but that it was born.
            subject=Subject(subject_id=self._animal or _UNKNOWN, sex='U', species=_UNKNOWN,
                            age='P0D/'))
        self._add_images(file)
        self._add_orientation(file)
        self._add_losses(file)
        with NWBHDF5IO(self._path, 'w') as io:
            io.write(file)

    def _add_images(self, file: NWBFile) -> None:
        acquisition = self._acquisition
        settings = {key: value for key, value in device_settings(acquisition).items()
                    if key in ('frameRate', 'gain', 'led0')}
        controls = ', '.join(f'{name} {value:g}' for name, value in acquisition.controls.items())
        device = Miniscope(
            name=acquisition.name, deviceType=acquisition.device_type or _UNKNOWN,
            description=f'controls in force at the first frame: {controls or _UNKNOWN}',
            **settings)
        file.add_device(device)
        times = acquisition.images['time_ms']
        rate = 1000 / float(np.median(np.diff(times))) if len(times) > 1 else math.nan
        plane = file.create_imaging_plane(
            name='ImagingPlane', description='the field of view of the scope', device=device,
            optical_channel=OpticalChannel(name='OpticalChannel', description=_UNKNOWN,
                                           emission_lambda=math.nan),
            excitation_lambda=math.nan, indicator=_UNKNOWN, location=_UNKNOWN, imaging_rate=rate)
        height, width = self._shape
        size = (width, height)  # NWB indexes images [time, x, y]
        file.add_acquisition(OnePhotonSeries(
            name=_SERIES, imaging_plane=plane, unit='n.a.',
            description='raw bytes of the sensor, indexed [frame, column, row]',
            data=H5DataIO(np.empty((0, *size), np.uint8), maxshape=(None, *size),
                          chunks=(1, *size), compression='gzip', compression_opts=_GZIP_LEVEL),
            timestamps=H5DataIO(np.empty(0), maxshape=(None,), chunks=(4096,))))

    def _add_orientation(self, file: NWBFile) -> None:
        rows = self._acquisition.orientation
        if not len(rows):
            return
        module = file.create_processing_module(
            'behavior', 'what the orientation sensor of the scope measured')
        module.add(TimeSeries(
            name='HeadOrientation', unit='au',
            description='head orientation: unit quaternions qw, qx, qy, qz',
            data=_compressed(np.column_stack([rows[name] for name in ('qw', 'qx', 'qy', 'qz')])),
            timestamps=_compressed(rows['time_ms'] / 1000)))

    def _add_losses(self, file: NWBFile) -> None:
        frames = self._acquisition.frames
        lossy = np.flatnonzero(frames['lost_before'])
        if not len(lossy):
            return
        table = TimeIntervals(
            name='lost_frames',
            description='from the frame before the one that tells of a loss to that one; before '
            'it were up to two more if their own stamps were bad')
        table.add_column('lost', 'frames lost')
        table.add_column('damaged', 'of these, received damaged')
        table.add_column('evidence', 'what tells of the loss: ' + ', '.join(_EVIDENCE[1:]))
        for row in lossy.tolist():
            after = frames[row]
            before = frames[row - 1] if row else after  # the recorder started in mid-stream
            table.add_interval(
                start_time=float(before['time_ms']) / 1000,
                stop_time=float(after['time_ms']) / 1000, lost=int(after['lost_before']),
                damaged=int(after['damaged_before']),
                evidence=_EVIDENCE[min(int(after['loss_evidence']), len(_EVIDENCE) - 1)])
        file.add_time_intervals(table)


def _compressed(data: NDArray[Any]) -> H5DataIO:
    return H5DataIO(data, compression='gzip', compression_opts=_GZIP_LEVEL)
