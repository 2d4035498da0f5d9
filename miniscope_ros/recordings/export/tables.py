# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Tables beside the videos: frames.csv, controls.csv, inputs.csv, notes.csv."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import csv
from pathlib import Path
from typing import Any

from miniscope_ros.model import Content, Evidence, ReadingStatus, Reason, StampSource
from miniscope_ros.recordings.bag.tables import RecordedAcquisition, RecordedNote
from miniscope_ros.recordings.export.frame_facts import filled_counts, frames_of_images
import numpy as np
from numpy.typing import NDArray

FRAME_COLUMNS = (
    'Frame Number', 'Time Stamp (ms)', 'Capture Index', 'Lost Before', 'Loss Evidence', 'Content',
    'Sync Edge', 'Digital Inputs', 'Device Frame Count', 'Device Time (ms)', 'Stamp Source',
    'ROS Time (ns)', 'Lost Uncertainty', 'Orientation', 'Device Frame Count Filled')
CONTROL_COLUMNS = ('Time Stamp (ms)', 'ROS Time (ns)', 'Control', 'Value', 'Raw Value', 'Reason',
                   'First Capture Index')
INPUT_COLUMNS = ('Time Stamp (ms)', 'ROS Time (ns)', 'Digital Inputs')
NOTE_COLUMNS = ('Time Stamp (ms)', 'Device', 'Property', 'Value')

_NOTE_AUTHOR = ('user', 'note')  # device and property of a remark


def write_tables(folder: Path, acquisition: RecordedAcquisition,
                 remarks: Iterable[RecordedNote], zero_ns: int, rows: NDArray[np.intp]) -> None:
    """
    Write the four tables.

    Parameters
    ----------
    folder
        The folder of the acquisition, beside whose videos they stand.
    acquisition
        What was recorded.
    remarks
        Those of the experimenter in the session.
    zero_ns
        ROS time at which their times are 0 [ns].
    rows
        Shape (n,): the rows of the n images in the videos. An image that could not be used is in
        no video, and frames.csv has no row for it.

    """
    offset_ms = (acquisition.start_ns - zero_ns) / 1e6
    if not acquisition.is_camera:
        _write(folder / 'frames.csv', FRAME_COLUMNS, _frames(acquisition, offset_ms, rows))
        _write(folder / 'controls.csv', CONTROL_COLUMNS, _controls(acquisition, zero_ns))
        _write(folder / 'inputs.csv', INPUT_COLUMNS, _inputs(acquisition, zero_ns))
    _write(folder / 'notes.csv', NOTE_COLUMNS, _notes(acquisition, remarks, zero_ns))


def word(value: int, kind: type[Content | Evidence | ReadingStatus | Reason | StampSource]) -> str:
    """Return the word for a number of a message; the number itself where there is none."""
    try:
        return kind(value).name.lower()
    except ValueError:
        return str(value)


def input_changes(acquisition: RecordedAcquisition) -> list[tuple[int, int]]:
    """Return when [ns, ROS time] the inputs got which levels; without messages frame by frame."""
    if acquisition.inputs:
        return [(change.stamp, change.levels) for change in acquisition.inputs]
    frames = acquisition.frames[acquisition.frames['digital_inputs'] >= 0]
    levels = frames['digital_inputs']
    changed = np.flatnonzero(np.diff(levels, prepend=-1))
    return list(zip(frames['stamp'][changed].tolist(), levels[changed].tolist(), strict=True))


def _write(path: Path, columns: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> None:
    with path.open('w', encoding='utf-8', newline='') as file:
        table = csv.writer(file, lineterminator='\n')
        table.writerow(columns)
        table.writerows(rows)


def _frames(acquisition: RecordedAcquisition, offset_ms: float, rows: NDArray[np.intp],
            ) -> Iterator[tuple[Any, ...]]:
    frames, known = frames_of_images(acquisition)
    counts, filled = filled_counts(frames)
    for number, place in enumerate(rows.tolist()):
        row = frames[place]
        unknown = None if known[place] else -1
        yield (
            number, repr(float(row['time_ms']) + offset_ms),
            int(row['capture_index']) if unknown is None else unknown,
            int(row['lost_before']), word(int(row['loss_evidence']), Evidence),
            word(int(row['content']), Content), int(row['sync_edge']),
            int(row['digital_inputs']), int(counts[place]), float(row['device_time_ms']),
            word(int(row['stamp_source']), StampSource), int(row['stamp']),
            int(row['lost_uncertainty']), word(int(row['orientation']), ReadingStatus),
            int(filled[place]))


def _controls(acquisition: RecordedAcquisition, zero_ns: int) -> Iterator[tuple[Any, ...]]:
    """Yield the values in force at the first frame, then what was sent."""
    first = acquisition.frames[:1] if len(acquisition.frames) else acquisition.images[:1]
    for stamp in first['stamp'].tolist():
        for name, state in acquisition.states.items():
            yield (repr((stamp - zero_ns) / 1e6), stamp, name, repr(state.value),
                   state.raw_value, word(Reason.START, Reason), -1)
    for change in (*acquisition.changes, *acquisition.stops):
        yield (repr((change.stamp - zero_ns) / 1e6), change.stamp, change.control,
               repr(change.value), change.raw_value, word(change.reason, Reason),
               change.first_capture_index)


def _inputs(acquisition: RecordedAcquisition, zero_ns: int) -> Iterator[tuple[Any, ...]]:
    for stamp, levels in input_changes(acquisition):
        yield repr((stamp - zero_ns) / 1e6), stamp, levels


def _notes(acquisition: RecordedAcquisition, notes: Iterable[RecordedNote], zero_ns: int,
           ) -> Iterator[tuple[Any, ...]]:
    """Yield remarks and changes of controls in the order of time, in whole milliseconds."""
    rows = [(note.stamp, *_NOTE_AUTHOR, note.text) for note in notes]
    rows += [(change.stamp, acquisition.name, change.control, f'{change.value:g}')
             for change in (*acquisition.changes, *acquisition.stops)]
    for stamp, *rest in sorted(rows, key=lambda row: row[0]):
        yield round((stamp - zero_ns) / 1e6), *rest
