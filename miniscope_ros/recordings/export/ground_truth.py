# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What really happened in a recorded session of a simulated scope, as NPZ and NWB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

from miniscope_ros.errors import ConfigurationError, DeviceError
from miniscope_ros.recordings.bag.contents import read_session
from miniscope_ros.recordings.bag.images import images
from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.tables import RecordedAcquisition
from miniscope_ros.recordings.export.frame_facts import frames_of_images, readings
from miniscope_ros.simulation.scene import Strengths
from miniscope_ros.simulation.truth import Truth, truth_at
import numpy as np
from numpy.typing import NDArray

_LARGEST_ANGLE = np.deg2rad(1.0)  # a reading has 14 bits
_WRONG_SHARE = 0.02  # share of readings that may differ: one may be of the frame before
_PLANE = 'PlaneSegmentation'


def recorded_device(bag: Bag, scope: str = '') -> tuple[RecordedAcquisition, str | None]:
    """
    Return the acquisition of a simulated scope, and what its parameter `device` was.

    scope names one of several. The device is None where the bag does not hold it. DeviceError
    where there is no such acquisition.
    """
    session = read_session(bag, lambda done: None)
    found = [one for one in session.acquisitions
             if len(one.images) and np.isfinite(one.frames['device_time_ms']).any()
             and scope in ('', one.name, one.scope)]
    if len(found) != 1:
        names = ', '.join(one.name for one in found) or 'none that has a device time'
        raise DeviceError(f'{bag.path} has to hold one acquisition of a simulated scope, and '
                          f'there is {names}; name one with --scope')
    parameters = session.metadata.get('parameters')
    mine = parameters.get(found[0].scope) if isinstance(parameters, Mapping) else None
    if isinstance(mine, Mapping) and mine.get('source') not in (None, 'simulated'):
        raise DeviceError(f'{found[0].scope} is no simulated scope: its source was '
                          f'{mine["source"]}')
    device = mine.get('device') if isinstance(mine, Mapping) else None
    return found[0], device if isinstance(device, str) else None


def truth_of(bag: Bag, acquisition: RecordedAcquisition, seed: int, strengths: Strengths) -> Truth:
    """
    Return the truth for each image of an acquisition.

    ConfigurationError if the recorded orientation is not that of the seed.
    """
    frames, _ = frames_of_images(acquisition)
    times_s = frames['device_time_ms'] / 1000
    if not np.isfinite(times_s).all():
        raise DeviceError(f'{int((~np.isfinite(times_s)).sum())} frames have no device time: the '
                          'truth of them is unknown')
    shape = next((pixels.shape for _, _, pixels in images(bag, [acquisition])), (0, 0))
    truth = truth_at(times_s, shape[1], shape[0], seed=seed, strengths=strengths)
    _check_orientation(acquisition, truth, frames['stamp'], seed)
    return truth


def _check_orientation(acquisition: RecordedAcquisition, truth: Truth,
                       stamps: NDArray[np.int64], seed: int) -> None:
    rows, _ = readings(acquisition)
    _, mine, theirs = np.intersect1d(stamps, rows['stamp'], return_indices=True)
    if not mine.size:
        return
    read = np.column_stack([rows[name][theirs] for name in ('qw', 'qx', 'qy', 'qz')])
    read /= np.linalg.norm(read, axis=1, keepdims=True)
    cosine = np.abs((read * truth.orientation[mine]).sum(axis=1)).clip(0, 1)
    wrong = int((2 * np.arccos(cosine) > _LARGEST_ANGLE).sum())
    if wrong > _WRONG_SHARE * mine.size:
        raise ConfigurationError(
            f'{wrong} of {mine.size} recorded orientations are not those of seed {seed}: the '
            'recording was made with another one; give what its parameter device was, as '
            '--device seed=3')


def write_npz(path: Path, truth: Truth) -> None:
    """Write all arrays of a truth by their names."""
    np.savez_compressed(path, **asdict(truth))


def write_nwb(path: Path, truth: Truth, acquisition: RecordedAcquisition) -> None:
    """Write cells as a PlaneSegmentation, activity and spikes as RoiResponseSeries."""
    from pynwb import NWBFile, NWBHDF5IO, TimeSeries
    from pynwb.behavior import SpatialSeries
    from pynwb.ophys import Fluorescence, ImageSegmentation, OpticalChannel

    start = datetime.fromtimestamp(acquisition.start_ns / 1e9, timezone.utc).astimezone()
    file = NWBFile(
        session_description=f'what really happened in the simulated scene of {acquisition.scope}',
        identifier=str(uuid4()), session_start_time=start)
    device = file.create_device(name=acquisition.name, description='a simulated scope')
    plane = file.create_imaging_plane(
        name='ImagingPlane', description='the field of view', device=device,
        optical_channel=OpticalChannel(
            name='OpticalChannel', description='simulated', emission_lambda=np.nan),
        excitation_lambda=np.nan, indicator='simulated', location='simulated')
    module = file.create_processing_module('ophys', 'the truth of the simulation')
    segmentation = ImageSegmentation()
    module.add(segmentation)
    cells = segmentation.create_plane_segmentation(
        name=_PLANE, description='cells in focus at rest; masks are indexed [column, row]',
        imaging_plane=plane)
    for footprint in truth.footprints:
        cells.add_roi(image_mask=footprint.T)
    region = cells.create_roi_table_region(
        description='all cells', region=list(range(len(truth.positions))))
    times = acquisition.images['time_ms'] / 1000
    responses = Fluorescence(name='Truth')
    module.add(responses)
    for name, data, what in (
            ('Activity', truth.activity, '0 at rest, about 1 at the peak of a transient'),
            ('Spikes', _spikes(truth), 'sizes of the transients that began since the frame '
             'before')):
        responses.create_roi_response_series(
            name=name, data=data, rois=region, unit='n.a.', timestamps=times, description=what)
    module.add(SpatialSeries(
        name='Motion', data=truth.motion, timestamps=times, unit='pixels',
        reference_frame='the tissue at rest', description='x, y of the tissue'))
    behavior = file.create_processing_module('behavior', 'the truth of the simulated head')
    behavior.add(TimeSeries(name='HeadOrientation', data=truth.orientation, timestamps=times,
                            unit='au', description='unit quaternions qw, qx, qy, qz'))
    with NWBHDF5IO(path, 'w') as io:
        io.write(file)


def _spikes(truth: Truth) -> NDArray[Any]:
    """Return the sizes of the transients by frame and cell."""
    spikes = np.zeros_like(truth.activity)
    seen = truth.spike_frame < len(spikes)
    np.add.at(spikes, (truth.spike_frame[seen], truth.spike_cell[seen]), truth.spike_size[seen])
    return spikes
