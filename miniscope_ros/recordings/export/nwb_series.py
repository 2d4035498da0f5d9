# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What stands beside the images in an NWB file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
from miniscope_ros.model import Content, Evidence, StampSource
from miniscope_ros.recordings.bag.tables import RecordedAcquisition, RecordedNote
from miniscope_ros.recordings.export.frame_facts import filled_counts, frames_of_images, readings
from miniscope_ros.recordings.export.tables import input_changes, word
import numpy as np
from numpy.typing import NDArray
from pynwb import H5DataIO, NWBFile, TimeSeries
from pynwb.epoch import TimeIntervals
from pynwb.misc import AnnotationSeries

GZIP_LEVEL = 1  # higher ones take twice the time for a few percent

_ORIENTATION = (
    'head orientation: unit quaternions qw, qx, qy, qz (the real part first) that turn a vector '
    'from the axes of the sensor, as the device type remaps them, into axes of which z is up. '
    'Roll = atan2(2(wx+yz), 1-2(x^2+y^2)), pitch = asin(2(wy-zx)), yaw = atan2(2(wz+xy), '
    '1-2(y^2+z^2)). The heading is magnetic and may jump while the sensor calibrates. The '
    'reading of a frame is taken at the end of its read-out. control is 1 where the sensor '
    'repeated the reading before')
_FRAME_SERIES: tuple[tuple[str, str, str], ...] = (
    ('CaptureIndex', 'capture_index', 'number of the frame, lost ones counted too'),
    ('LostBefore', 'lost_before', 'frames lost before this one and not reported before'),
    ('LostUncertainty', 'lost_uncertainty', 'by so many CaptureIndex may be off'),
    ('SyncEdge', 'sync_edge', "index of the frame's edge on the sync output of the DAQ box; -1 "
     'unknown. The edge comes at the end of the read-out'),
    ('DigitalInputsOfFrame', 'digital_inputs', 'bit mask of the digital inputs; -1 unknown'),
    ('FrameContent', 'content', 'what the picture itself shows: '
     + ', '.join(f'{int(value)} {value.name.lower()}' for value in Content)),
    ('StampSource', 'stamp_source', 'where the time stamp comes from: '
     + ', '.join(f'{int(value)} {value.name.lower()}' for value in StampSource)))


_COUNT, _TIME = 'DeviceFrameCount', 'DeviceTime'
_OF_FRAMES = (*(name for name, _, _ in _FRAME_SERIES), _COUNT, _TIME)


def add_frames(file: NWBFile, acquisition: RecordedAcquisition) -> None:
    """Add what is known of each image, one series a fact, all with the times of the first."""
    frames, _ = frames_of_images(acquisition)
    counts, filled = filled_counts(frames)
    times: Any = _resizable(frames['time_ms'] / 1000)

    def add(name: str, description: str, data: NDArray[Any], unit: str = 'n.a.',
            **more: Any) -> None:
        nonlocal times
        series = TimeSeries(name=name, description=f'of each frame: {description}', unit=unit,
                            data=_resizable(data), timestamps=times, **more)
        file.add_acquisition(series)
        times = series if not isinstance(times, TimeSeries) else times

    for name, column, description in _FRAME_SERIES:
        data = frames[column]
        add(name, description, data.astype(np.int64) if data.dtype.kind == 'u' else data)
    add(_COUNT, "the DAQ box's own count of frames; -1 unknown. control is 1 where a "
        'neighbour determines it', counts, control=_resizable(filled.astype(np.uint8)),
        control_description=['read', 'filled'])
    if np.isfinite(frames['device_time_ms']).any():
        add(_TIME, "on the device's own clock", frames['device_time_ms'] / 1000, 'seconds')


def keep_frames(group: h5py.Group, rows: NDArray[np.intp]) -> None:
    """
    Leave of the series that add_frames added only the values of some images.

    Parameters
    ----------
    group
        The group of the series in the written file.
    rows
        Shape (n,): the rows of the n images that are kept, rising.

    """
    for name in _OF_FRAMES:
        for key in ('data', 'timestamps', 'control'):
            values = group.get(f'{name}/{key}')
            # Several series share one set of time stamps.
            if values is not None and len(values) > len(rows):
                values[:len(rows)] = values[()][rows]
                values.resize(len(rows), axis=0)


def add_orientation(file: NWBFile, acquisition: RecordedAcquisition) -> None:
    """Add the reading of each frame that has a valid one."""
    rows, repeats = readings(acquisition)
    if not len(rows):
        return
    module = file.create_processing_module(
        'behavior', 'what the orientation sensor of the scope measured')
    module.add(TimeSeries(
        name='HeadOrientation', unit='au', description=_ORIENTATION,
        data=_compressed(np.column_stack([rows[name] for name in ('qw', 'qx', 'qy', 'qz')])),
        timestamps=_compressed(rows['time_ms'] / 1000),
        control=_compressed(repeats.astype(np.uint8)), control_description=['new', 'repeated']))


def add_losses(file: NWBFile, acquisition: RecordedAcquisition) -> None:
    """Add the lost frames as intervals."""
    frames = acquisition.frames
    lossy = np.flatnonzero(frames['lost_before'])
    if not len(lossy):
        return
    table = TimeIntervals(
        name='lost_frames',
        description='from the frame before the one that shows a loss to that one; before '
        'it were up to two more if their own stamps were bad')
    table.add_column('lost', 'frames lost')
    table.add_column('damaged', 'of these, received damaged')
    table.add_column('evidence', 'what shows the loss: '
                     + ', '.join(kind.name.lower() for kind in Evidence if kind))
    for row in lossy.tolist():
        after = frames[row]
        before = frames[row - 1] if row else after  # the recorder started in mid-stream
        table.add_interval(
            start_time=float(before['time_ms']) / 1000,
            stop_time=float(after['time_ms']) / 1000, lost=int(after['lost_before']),
            damaged=int(after['damaged_before']),
            evidence=word(int(after['loss_evidence']), Evidence))
    file.add_time_intervals(table)


def add_controls(file: NWBFile, acquisition: RecordedAcquisition) -> None:
    """Add a series for each control: its value at the first frame, and each that was sent."""
    first = acquisition.frames if len(acquisition.frames) else acquisition.images
    begin = int(first['stamp'][0])
    sent = (*acquisition.changes, *acquisition.stops)
    for name in sorted({*acquisition.states, *(change.control for change in sent)}):
        steps = [(begin, acquisition.states[name].value)] if name in acquisition.states else []
        steps += [(change.stamp, change.value) for change in sent if change.control == name]
        stamps, values = zip(*sorted(steps, key=lambda step: step[0]), strict=True)
        file.add_acquisition(TimeSeries(
            name=f'Control_{name}', unit='n.a.',
            description=f'{name} of the scope, in the units of its device type: a value holds '
            'until the next one', data=np.array(values, float),
            timestamps=_seconds(acquisition, stamps)))


def add_inputs(file: NWBFile, acquisition: RecordedAcquisition) -> None:
    """Add the changes of the digital inputs."""
    changes = input_changes(acquisition)
    if changes:
        stamps, levels = zip(*changes, strict=True)
        file.add_acquisition(TimeSeries(
            name='DigitalInputs', unit='n.a.', description='bit mask of the digital inputs, bit 0 '
            'the trigger: a value holds until the next one', data=np.array(levels, np.int16),
            timestamps=_seconds(acquisition, stamps)))


def add_notes(file: NWBFile, acquisition: RecordedAcquisition, notes: Sequence[RecordedNote],
              ) -> None:
    """
    Add the remarks of the experimenter.

    pynwb 4 recommends its new EventsTable instead. Files with one cannot be read by the programs
    that use an older pynwb, and those are most of them today.
    """
    if notes:
        file.add_acquisition(AnnotationSeries(
            name='Notes', description='remarks of the experimenter',
            data=[note.text for note in notes],
            timestamps=_seconds(acquisition, [note.stamp for note in notes])))


def _seconds(acquisition: RecordedAcquisition, stamps: Sequence[int]) -> NDArray[np.float64]:
    return np.array([(stamp - acquisition.start_ns) / 1e9 for stamp in stamps])


def _compressed(data: NDArray[Any], **more: Any) -> H5DataIO:
    return H5DataIO(data, compression='gzip', compression_opts=GZIP_LEVEL, **more)


def _resizable(data: NDArray[Any]) -> H5DataIO:
    """Return data whose length may change later."""
    return _compressed(data, maxshape=(None,))
