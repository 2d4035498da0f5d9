# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The acquisitions that the messages of one node make."""

from __future__ import annotations

from collections.abc import Iterator
import re
from typing import Any, TypeVar

from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.model import Reason
from miniscope_ros.recordings.bag.completeness import find_problems
from miniscope_ros.recordings.bag.division import divide, Division
from miniscope_ros.recordings.bag.outliers import repair_outliers
from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.scope import ScopeMessages
from miniscope_ros.recordings.bag.tables import ControlState, IMAGE, RecordedAcquisition
from miniscope_ros.recordings.free_name import free_name
from miniscope_ros.recordings.timeline import rising_ns
import numpy as np
from numpy.typing import NDArray

T = TypeVar('T')

# Without them nothing is unknown that was known: an older driver did not look.
_ADDED_LATER = frozenset(('content', 'lost_uncertainty'))
_LONGEST_MS = 1e11  # 3 years; an acquisition that is said to take longer has a damaged time
_STOP_WITHIN_NS = 5_000_000_000  # [ns] after the last frame in which LED dark is still sent


def find_acquisitions(bag: Bag, scope: ScopeMessages, names: set[str],
                      ) -> Iterator[RecordedAcquisition]:
    """
    Yield the acquisitions of one node in their order in time.

    Each gets a name that is not in names, and is added to them. What is missing is added to the
    problems of the bag and of the acquisition.
    """
    frames = _repaired(bag, scope)
    stamps, shapes = scope.image_stamps(), scope.image_shapes()
    if not len(stamps):
        bag.note(f'{scope.node}/image_raw holds no image: nothing can be exported')
    orientation = scope.orientation.rows()
    division = divide(frames, in_order=not bag.compressed_messages)
    part_of_image = division.part_of(stamps)
    part_of_row = division.part_of(orientation['stamp'])
    made = []
    for number, part in enumerate(division.parts):
        acquisition = _acquisition(bag, scope, part, stamps[part_of_image == number],
                                   orientation[part_of_row == number])
        if acquisition is not None:
            acquisition.shape = scope.usual_shape(shapes[part_of_image == number])
            made.append(acquisition)
    before: RecordedAcquisition | None = None
    for acquisition in made:
        acquisition.name = _name(scope.node, names)
        acquisition.device = made[0].name
        _note_gap(before, acquisition)
        before = acquisition
        _add_settings(acquisition, scope)
        find_problems(acquisition)
        yield acquisition
    _note_mixture(division, scope, made)


def _acquisition(bag: Bag, scope: ScopeMessages, frames: NDArray[Any],
                 stamps: NDArray[np.int64], rows: NDArray[Any]) -> RecordedAcquisition | None:
    """Return the acquisition of these messages; None without a frame, for it has no time then."""
    if not len(frames) and not len(stamps):
        return None
    if len(frames) or bag.compressed_messages:
        stamps = np.sort(stamps, kind='stable')
    rows = rows[np.argsort(rows['stamp'], kind='stable')]
    images = np.zeros(len(stamps), IMAGE)
    images['stamp'] = stamps
    timed = next((table for table in (frames, rows)
                  if len(table) and abs(table['time_ms'][0]) <= _LONGEST_MS), None)
    if timed is not None:
        start = int(timed['stamp'][0]) - round(timed['time_ms'][0] * 1e6)
    else:
        start = int(stamps[0])
    images['time_ms'] = (stamps - start) / 1e6
    images['device_frame_count'] = -1
    acquisition = RecordedAcquisition('', scope.node, images, frames, rows, start,
                                      topic=f'{scope.node}/image_raw')
    suspect = np.flatnonzero(np.isin(stamps, scope.suspect))
    if suspect.size:
        acquisition.problems.append(
            f'{suspect.size} images may be wrong, from number {suspect[0]} to {suspect[-1]}: '
            'their bytes are not those that were written')
    if len(frames):
        matched = match_stamps(frames['stamp'], stamps)
        for column in ('time_ms', 'device_frame_count'):
            images[column][matched >= 0] = frames[column][matched[matched >= 0]]
    elif len(stamps) > 1:
        times_ns, moved = rising_ns(images['time_ms'])
        images['time_ms'] = times_ns / 1e6
        if moved:
            acquisition.problems.append(f'stamps of the images do not rise evenly; {moved}')
    bad = ~np.isfinite(rows['time_ms']) | (np.abs(rows['time_ms']) > _LONGEST_MS)
    rows['time_ms'][bad] = (rows['stamp'][bad] - start) / 1e6
    return acquisition


def camera_acquisition(topic: str, stamps: NDArray[np.int64]) -> RecordedAcquisition:
    """Return what a camera of another driver recorded; the stamps [ns] are not empty."""
    stamps = np.sort(stamps, kind='stable')
    images = np.zeros(len(stamps), IMAGE)
    images['stamp'], images['device_frame_count'] = stamps, -1
    times_ns, moved = rising_ns((stamps - stamps[0]) / 1e6)
    images['time_ms'] = times_ns / 1e6
    acquisition = RecordedAcquisition(
        '', topic, images, ScopeMessages(topic).frames.rows(),
        ScopeMessages(topic).orientation.rows(), int(stamps[0]), topic=topic, is_camera=True)
    if moved:
        acquisition.problems.append(f'stamps of the images do not rise evenly; {moved}')
    return acquisition


def match_stamps(frames: NDArray[np.int64], images: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each image the frame of the same stamp, -1 where there is none."""
    if len(frames) == len(images) and np.array_equal(frames, images):
        return np.arange(len(images))
    if not len(frames):
        return np.full(len(images), -1)
    order = np.argsort(frames, kind='stable')
    place = np.minimum(np.searchsorted(frames[order], images), len(frames) - 1)
    found: NDArray[np.int64] = order[place]
    found[frames[found] != images] = -1
    return found


def _repaired(bag: Bag, scope: ScopeMessages) -> NDArray[Any]:
    """Return the frame table; report the fields that older messages lack, and derive some."""
    for table, topic in ((scope.frames, 'frame_info'), (scope.orientation, 'orientation_rows')):
        if missing := table.missing - _ADDED_LATER:
            bag.note(f'{scope.node}/{topic} is of an older version without '
                     f'{", ".join(sorted(missing))}')
    frames = scope.frames.rows()
    if 'frame_index' in scope.frames.missing:
        frames['frame_index'] = np.arange(len(frames))
    if 'capture_index' in scope.frames.missing:
        frames['capture_index'] = frames['frame_index'] + np.cumsum(frames['lost_before'])
    if not len(frames):
        return frames
    if 'time_ms' in scope.frames.missing:
        frames['time_ms'] = (frames['stamp'] - frames['stamp'][0]) / 1e6
    bad = ~np.isfinite(frames['time_ms']) | (np.abs(frames['time_ms']) > _LONGEST_MS)
    if bad.any():
        bag.note(f'{scope.node}/frame_info: {int(bad.sum())} messages have no valid time_ms; '
                 'it is taken from their stamps')
        _fill_times(frames, bad)
    if count := repair_outliers(frames):
        bag.note(f'{scope.node}/frame_info: {count} messages have values that contradict those '
                 'before and after, and are repaired by them')
    return frames


def _fill_times(frames: NDArray[Any], bad: NDArray[np.bool_]) -> None:
    """Replace bad times by the stamp since the start that the frame before has."""
    good = np.flatnonzero(~bad)
    if not good.size:
        frames['time_ms'] = (frames['stamp'] - frames['stamp'][0]) / 1e6
        return
    nearest = good[np.maximum(np.searchsorted(good, np.flatnonzero(bad)) - 1, 0)]
    since = (frames['stamp'][bad] - frames['stamp'][nearest]) / 1e6
    frames['time_ms'][bad] = frames['time_ms'][nearest] + since


def _note_gap(before: RecordedAcquisition | None, acquisition: RecordedAcquisition) -> None:
    """Remark how long after the one before an acquisition begins; all stamps are of one clock."""
    if before is None or not len(before.images) or not len(acquisition.images):
        return
    gap = (int(acquisition.images['stamp'][0]) - int(before.images['stamp'][-1])) / 1e9
    if gap > 0:
        acquisition.remarks.append(f'begins {gap:.3f} s after the last frame of {before.name}')
    elif acquisition.images['stamp'][0] < before.images['stamp'][0]:
        acquisition.remarks.append(
            f'is earlier than {before.name}, which was written before it: a clock was set back, '
            'or files of several recordings are read as one')


def _name(node: str, names: set[str]) -> str:
    """Return a new name for a folder: rat1_miniscope, then rat1_miniscope_2, .."""
    name = free_name(re.sub(r'\W', '_', node.strip('/')) or 'miniscope', names.__contains__)
    names.add(name)
    return name


def _add_settings(acquisition: RecordedAcquisition, scope: ScopeMessages) -> None:
    first = acquisition.frames if len(acquisition.frames) else acquisition.images
    begin, end = int(first['stamp'][0]), int(first['stamp'][-1])
    metadata = _in_force(scope.metadata, begin)
    if metadata is None:
        acquisition.problems.append('image_raw/metadata is missing: device type and set rate are '
                                    'unknown')
    else:
        acquisition.device_type, acquisition.frame_rate = metadata
    states = _in_force(scope.controls, begin)
    if states is None:
        states = {change.control: ControlState(change.value, change.raw_value)
                  for change in scope.changes if change.stamp <= begin}
        # A camera has none, nor has a recording of an unknown device that was played.
        if states or metadata is None or acquisition.device_type in load_catalogue():
            acquisition.problems.append(
                'controls is missing: the values in force at the start are '
                f'{"taken from control_changes" if states else "unknown"}')
    acquisition.states = states
    acquisition.changes = [change for change in scope.changes if begin < change.stamp <= end]
    before = sorted((change for change in scope.inputs if change.stamp <= begin),
                    key=lambda change: change.stamp)[-1:]
    acquisition.inputs = before + [
        change for change in scope.inputs if begin < change.stamp <= end]
    acquisition.stops = [
        change for change in scope.changes if change.reason == Reason.STOP
        and end < change.stamp <= end + _STOP_WITHIN_NS]


def _in_force(states: list[tuple[int, T]], stamp: int) -> T | None:
    """
    Return the last state up to then, or, where all are later, the first.

    Last is meant in time: an acquisition written later may be earlier where a clock was set back.
    """
    in_order = sorted(states, key=lambda entry: entry[0])
    earlier = [state for at, state in in_order if at <= stamp]
    return earlier[-1] if earlier else in_order[0][1] if in_order else None


def _note_mixture(division: Division, scope: ScopeMessages, made: list[RecordedAcquisition],
                  ) -> None:
    if division.mixed:
        for acquisition in made:
            acquisition.problems.append(
                f'its messages are mixed with those of another acquisition: two nodes named '
                f'{scope.node} were recorded together; give each a name of its own')
