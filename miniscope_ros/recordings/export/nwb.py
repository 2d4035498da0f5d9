# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""NWB files (Neurodata Without Borders) of a scope's frames, with pynwb and ndx-miniscope."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import h5py
from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.bag.tables import RecordedAcquisition, RecordedNote
from miniscope_ros.recordings.export import nwb_series
from miniscope_ros.recordings.export.miniscope_daq import device_settings
from miniscope_ros.recordings.export.session_data import SessionData
from miniscope_ros.recordings.export.summary import measured_rate
from ndx_miniscope import Miniscope
import numpy as np
from numpy.typing import NDArray
from pynwb import H5DataIO, NWBFile, NWBHDF5IO
from pynwb.device import Device
from pynwb.file import Subject
from pynwb.image import ImageSeries
from pynwb.ophys import OnePhotonSeries, OpticalChannel

_UNKNOWN = 'unknown'
_SCOPE_SERIES, _CAMERA_SERIES = 'OnePhotonSeries', 'ImageSeries'
_KEYWORDS = ('miniscope', 'one-photon calcium imaging', 'freely moving')
_STAMPS = (
    "A time stamp is the arrival of a frame's first data at the computer, not corrected: on a "
    'sensor with a global shutter (V3, V4) the end of the exposure plus about 1 ms, so that the '
    'middle of the exposure is half an exposure earlier; on one with a rolling shutter '
    '(MT9P031) the read-out of the first rows.')
_EXPOSURE = ('The frame rate sets the exposure: a V4 exposes for nearly the whole period of a '
             'frame. ')


class NwbWriter:
    """
    The file of one scope or camera; zero of its times is frame_index 0.

    All but the images is written when the first image comes. Then the images are appended one by
    one, each a chunk of its own, so that the memory does not grow.
    """

    def __init__(
        self, path: Path, acquisition: RecordedAcquisition, recording: str, session: SessionData,
        notes: Sequence[RecordedNote],
    ) -> None:
        """Take note of what to write; nothing is written before the first frame."""
        self._path = path
        self._acquisition = acquisition
        self._recording = recording
        self._session = session
        self._notes = notes
        self._file: h5py.File | None = None
        self._images: h5py.Group | None = None
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def add(self, image: NDArray[np.uint8], row: int) -> None:
        """Append the image of a row; ConfigurationError for one that the file cannot hold."""
        if self._images is None:
            self._shape = image.shape
            name = self._write_frame_of_file()
            self._file = h5py.File(self._path, 'a')
            self._images = self._file['acquisition'][name]
        if image.shape != self._shape:
            raise ConfigurationError(f'the image size changes from {self._shape} to '
                                     f'{image.shape} at frame {self._count}')
        # NWB indexes images [time, x, y], and colours are red, green, blue.
        stored = image.T if image.ndim == 2 else image[:, :, ::-1].transpose(1, 0, 2)
        time_s = self._acquisition.images['time_ms'][row] / 1000
        for name, value in (('data', stored), ('timestamps', time_s)):
            self._images[name].resize(self._count + 1, axis=0)
            self._images[name][self._count] = value
        self._count += 1

    def finish(self, rows: NDArray[np.intp]) -> None:
        """Take out what is said of images that could not be used."""
        assert self._file is not None
        nwb_series.keep_frames(self._file['acquisition'], rows)
        self._file.close()

    def discard(self) -> None:
        """Close and delete what has been written."""
        if self._file is not None:
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _write_frame_of_file(self) -> str:
        """Write all but the images; return the name of the series that they belong to."""
        acquisition = self._acquisition
        file = self._new_file()
        if acquisition.is_camera or len(self._shape) == 3:
            name = self._add_camera(file)
        else:
            name = self._add_scope(file)
        if len(acquisition.frames):
            nwb_series.add_frames(file, acquisition)
            nwb_series.add_losses(file, acquisition)
        nwb_series.add_orientation(file, acquisition)
        nwb_series.add_controls(file, acquisition)
        nwb_series.add_inputs(file, acquisition)
        nwb_series.add_notes(file, acquisition, self._notes)
        with NWBHDF5IO(self._path, 'w') as io:
            io.write(file)
        return name

    def _new_file(self) -> NWBFile:
        acquisition, data = self._acquisition, self._session
        start = datetime.fromtimestamp(acquisition.start_ns / 1e9, timezone.utc).astimezone()
        what = acquisition.topic if acquisition.is_camera else acquisition.scope
        notes = [data.notes, *(f'{name}: {text}' for name, text in data.more)]
        return NWBFile(
            session_description=f'{what} in the ROS 2 recording {self._recording}',
            identifier=str(uuid4()), session_start_time=start,
            session_id=f'{self._recording}_{acquisition.name}',
            experimenter=[data.researcher] if data.researcher else None,
            experiment_description=data.experiment or None, lab=data.lab or None,
            institution=data.institution or None, keywords=list(_KEYWORDS),
            notes='\n'.join(filter(None, notes)) or None,
            # Archives ask for an animal; of it a recording knows nothing but that it was born.
            subject=Subject(
                subject_id=data.animal or _UNKNOWN, sex=data.sex or 'U',
                species=data.species or _UNKNOWN, age=data.age or 'P0D/',
                genotype=data.genotype or None,
                description=f'indicator: {data.indicator}' if data.indicator else None))

    def _add_scope(self, file: NWBFile) -> str:
        data = self._session
        device = self._scope_device(file)
        rate = measured_rate(self._acquisition)
        plane = file.create_imaging_plane(
            name='ImagingPlane', description='the field of view of the scope', device=device,
            optical_channel=OpticalChannel(
                name='OpticalChannel', description='fluorescence onto the one sensor of the scope',
                emission_lambda=data.emission_nm),
            excitation_lambda=data.excitation_nm, indicator=data.indicator or _UNKNOWN,
            location=data.location or _UNKNOWN, imaging_rate=rate)
        file.add_acquisition(OnePhotonSeries(
            name=_SCOPE_SERIES, imaging_plane=plane, unit='n.a.',
            description='raw bytes of the sensor, indexed [frame, column, row]. '
            + _EXPOSURE + _STAMPS, **self._empty()))
        return _SCOPE_SERIES

    def _scope_device(self, file: NWBFile) -> Any:
        acquisition = self._acquisition
        settings = {key: value for key, value in device_settings(acquisition).items()
                    if key in ('frameRate', 'gain', 'led0')}
        controls = ', '.join(f'{name} {value:g}' for name, value in acquisition.controls.items())
        known = load_catalogue().get(acquisition.device_type)
        if known is not None:
            settings['model'] = file.create_device_model(
                name=known.name, manufacturer='UCLA Miniscope project (open source)',
                model_number=known.name,
                description=f'sensor {known.sensor}, {known.width}x{known.height} px, pixel clock '
                f'{known.pixel_clock:g} MHz, lights: '
                f'{", ".join(light.name for light in known.lights) or "none"}, orientation '
                f'sensor: {"BNO055" if known.orientation else "none"}')
        device = Miniscope(
            name=acquisition.name, deviceType=acquisition.device_type or _UNKNOWN,
            description=f'controls in force at the first frame: {controls or _UNKNOWN}',
            **settings)
        file.add_device(device)
        return device

    def _add_camera(self, file: NWBFile) -> str:
        acquisition = self._acquisition
        device = Device(name=acquisition.name,
                        description=f'a camera whose images were on the topic {acquisition.topic}')
        file.add_device(device)
        channels = ', channel (red, green, blue)' if len(self._shape) == 3 else ''
        file.add_acquisition(ImageSeries(
            name=_CAMERA_SERIES, unit='n.a.', device=device,
            description=f'indexed [frame, column, row{channels}]. A time stamp is that of the '
            'image message', **self._empty()))
        return _CAMERA_SERIES

    def _empty(self) -> dict[str, Any]:
        """Return data and time stamps that grow."""
        height, width, *channels = self._shape
        size = (width, height, *channels)
        return {
            'data': H5DataIO(
                np.empty((0, *size), np.uint8), maxshape=(None, *size), chunks=(1, *size),
                compression='gzip', compression_opts=nwb_series.GZIP_LEVEL),
            'timestamps': H5DataIO(np.empty(0), maxshape=(None,), chunks=(4096,))}
