# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""rosbag2 recordings of this driver, to be published again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
import importlib
from pathlib import Path
from typing import Any, TYPE_CHECKING

from miniscope_ros.errors import DeviceError
from miniscope_ros.installing import pip_install
from miniscope_ros.model import Content, Quaternion, ReadingStatus, Reason
from miniscope_ros.recordings.recording import (
    ImageFormat,
    RecordedChange,
    RecordedFrame,
    Recording,
)
from miniscope_ros.recordings.timeline import pace, rising_ns
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # needs rosbags, which is there only where bags are read
    from miniscope_ros.recordings.bag.reader import Bag
    from miniscope_ros.recordings.bag.tables import ControlChange, RecordedAcquisition

    Images = Callable[
        [], Generator[tuple[RecordedAcquisition, int, NDArray[np.uint8]], None, None]]

_SUFFIXES = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')  # known without the package, too
_METADATA = 'metadata.yaml'


def recognise(path: Path) -> bool:
    """Return whether it is a bag, its base name, or the name of an acquisition below a bag."""
    return _is_bag(path) or not path.exists() and _is_bag(path.parent)


def read(path: Path) -> Recording:
    """
    Open a bag with one acquisition, or the acquisition below the bag that the path names.

    The whole bag is read once for it. DeviceError if it cannot be played or a library is missing.
    """
    try:
        files: Any = importlib.import_module('miniscope_ros.recordings.bag.files')
        reader: Any = importlib.import_module('miniscope_ros.recordings.bag.reader')
        contents: Any = importlib.import_module('miniscope_ros.recordings.bag.contents')
        pixels: Any = importlib.import_module('miniscope_ros.recordings.bag.images')
    except ImportError as error:
        raise DeviceError('playing a bag needs the Python package rosbags, which is not there '
                          f'({error}): {pip_install("rosbags")}') from error
    place = path if path.exists() or files.is_bag(path) else path.parent
    bag = reader.Bag(place)
    found = [acquisition for acquisition in contents.read_contents(bag, lambda progress: None)
             if len(acquisition.images)]
    if not found:
        raise DeviceError('; '.join([
            f'{place} holds no image of a Miniscope (a topic image_raw)', *bag.problems]))
    chosen = found if place == path else [one for one in found if one.name == path.name]
    if len(chosen) != 1:
        names = ', '.join(str(place / acquisition.name) for acquisition in found)
        missing = '' if place == path else f'{path} does not exist; '
        raise DeviceError(
            f'{missing}{place} holds {len(found)} acquisitions; name one of: {names}')
    return BagRecording(place / chosen[0].name, bag, chosen[0],
                        lambda: pixels.images(bag, chosen))


def _is_bag(path: Path) -> bool:
    if path.is_file():
        return path.name.endswith(_SUFFIXES)
    if path.is_dir():
        return (path / _METADATA).is_file() or any(
            file.name.endswith(_SUFFIXES) for file in path.iterdir())
    return False


class BagRecording:
    """One acquisition of a bag; see Recording."""

    format_name = 'rosbag2'
    device_count_bits = 32

    def __init__(self, path: Path, bag: Bag, mine: RecordedAcquisition, images: Images) -> None:
        """Decode the first image; DeviceError if there is none."""
        self.path = str(path)
        self.device_type = mine.device_type
        self.start_epoch_ns: int | None = mine.start_ns
        self.frame_count = len(mine.images)
        self.controls: Mapping[str, str] = {
            name: f'{value:g}' for name, value in mine.controls.items()}
        self.has_orientation = bool(len(mine.orientation))
        self.warnings: list[str] = [*bag.problems, *mine.problems]
        self._bag = bag
        self._images = images
        # Times of frame_info are on a clock that nobody sets.
        self._times_ns, moved = rising_ns(
            mine.images['time_ms'], gaps_are_real=bool(len(mine.frames)))
        if moved:
            self.warnings.append(f'{path}: times are not above the one before; {moved}')
        self.interval_ns, self.frame_rate = pace(self._times_ns, mine.frame_rate)
        self._facts = _FrameFacts(mine)
        self.has_frame_numbers = bool(len(mine.frames))
        self._changes = [*_in_force(mine), *(_change(mine, change) for change in mine.changes)]
        self.stops: Sequence[RecordedChange] = [_change(mine, change) for change in mine.stops]
        self.format = self._first_format()

    def frames(self) -> Generator[RecordedFrame, None, None]:
        """Yield the frames as Recording says."""
        told = 0
        with closing(self._images()) as images:
            for _, row, image in images:
                if ImageFormat.of(image) != self.format:
                    raise DeviceError(
                        f'{self.path}: image size {ImageFormat.of(image)} differs from the '
                        f'{self.format} of the first')
                time_ns = int(self._times_ns[row])
                due = told
                while due < len(self._changes) and self._changes[due].time_ns <= time_ns:
                    due += 1
                yield self._facts.frame(row, image, time_ns, tuple(self._changes[told:due]))
                told = due
                if row + 1 == self.frame_count:
                    break
        self.warnings += [text for text in self._bag.problems if text not in self.warnings]

    def _first_format(self) -> ImageFormat:
        with closing(self._images()) as images:
            for _, _, image in images:
                return ImageFormat.of(image)
        raise DeviceError(f'{self.path}: no image can be decoded')


class _FrameFacts:
    """What was recorded beside each image of an acquisition."""

    def __init__(self, mine: RecordedAcquisition) -> None:
        self._mine = mine
        self._readings = _Readings(mine)
        self._frame_of_image = _frame_of_image(mine)

    def frame(self, row: int, image: NDArray[np.uint8], time_ns: int,
              changes: tuple[RecordedChange, ...]) -> RecordedFrame:
        """Return the frame of an image's row, taken at time_ns [ns] of the recording."""
        count = int(self._mine.images['device_frame_count'][row])
        stamp = int(self._mine.images['stamp'][row])
        number = int(self._frame_of_image[row])
        info = self._mine.frames[number] if number >= 0 else None
        edge = -1 if info is None else int(info['sync_edge'])
        return RecordedFrame(
            image=np.ascontiguousarray(image),
            time_ns=time_ns,
            device_count=None if count < 0 else count,
            orientation=self._readings.get(stamp, number),
            number=None if info is None else int(info['capture_index']),
            sync_edge=None if edge < 0 else edge,
            digital_inputs=-1 if info is None else int(info['digital_inputs']),
            content=None if info is None else _content(int(info['content'])),
            changes=changes)


def _content(number: int) -> Content | None:
    """Return what a frame was found to show; None where it was not looked at."""
    known = number in {int(content) for content in Content}
    return Content(number) if known and number != Content.NOT_CHECKED else None


def _frame_of_image(mine: RecordedAcquisition) -> NDArray[np.int64]:
    acquisitions: Any = importlib.import_module('miniscope_ros.recordings.bag.acquisitions')
    matched: NDArray[np.int64] = acquisitions.match_stamps(
        mine.frames['stamp'], mine.images['stamp'])
    return matched


def _in_force(mine: RecordedAcquisition) -> list[RecordedChange]:
    """Return the values in force at the first frame as if they were sent before it."""
    return [RecordedChange(0, name, state.value, state.raw_value, Reason.START, 0)
            for name, state in mine.states.items()]


def _change(mine: RecordedAcquisition, change: ControlChange) -> RecordedChange:
    first = int(mine.frames['capture_index'][0]) if len(mine.frames) else 0
    index = change.first_capture_index
    known = change.reason in {int(reason) for reason in Reason}
    return RecordedChange(
        change.stamp - mine.start_ns, change.control, change.value, change.raw_value,
        Reason(change.reason) if known else Reason.USER,
        -1 if index < 0 else max(0, index - first))


class _Readings:
    """The orientation by stamp, repeated readings, which have no row, included."""

    def __init__(self, mine: RecordedAcquisition) -> None:
        self._rows = mine.orientation
        self._stamps = np.ascontiguousarray(mine.orientation['stamp'])
        self._repeated = mine.frames['orientation'] == ReadingStatus.REPEATED

    def get(self, stamp: int, frame: int) -> Quaternion | None:
        """Return the reading of a frame by its stamp [ns] and its row (-1: none)."""
        place = int(np.searchsorted(self._stamps, stamp, 'right')) - 1
        if place < 0:
            return None
        if self._stamps[place] != stamp and not (frame >= 0 and self._repeated[frame]):
            return None
        row = self._rows[place]
        return float(row['qw']), float(row['qx']), float(row['qy']), float(row['qz'])
