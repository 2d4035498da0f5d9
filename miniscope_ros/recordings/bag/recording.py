# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""rosbag2 recordings of this driver, to be published again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
import importlib
from pathlib import Path
from typing import Any, TYPE_CHECKING

from miniscope_ros.errors import DeviceError
from miniscope_ros.model import Quaternion
from miniscope_ros.recordings.recording import RecordedFrame, Recording
from miniscope_ros.recordings.timeline import pace, rising_ns
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # needs rosbags, which is there only where bags are read
    from miniscope_ros.recordings.bag.acquisitions import RecordedAcquisition
    from miniscope_ros.recordings.bag.reader import Bag

    Images = Callable[
        [], Generator[tuple[RecordedAcquisition, int, NDArray[np.uint8]], None, None]]

_METADATA = 'metadata.yaml'
_REPEATED = 2  # as in FrameInfo.msg
_FILES = ('*.mcap', '*.db3', '*.mcap.zstd', '*.db3.zstd')


def recognise(path: Path) -> bool:
    """Return whether it is a bag, or the name of an acquisition below a bag's folder."""
    return _is_bag(path) or not path.exists() and _is_bag(path.parent)


def read(path: Path) -> Recording:
    """
    Open a bag with one acquisition, or the acquisition below the bag that the path names.

    The whole bag is read once for it. DeviceError if it cannot be played or a library is missing.
    """
    try:
        reader: Any = importlib.import_module('miniscope_ros.recordings.bag.reader')
        contents: Any = importlib.import_module('miniscope_ros.recordings.bag.acquisitions')
    except ImportError as error:
        raise DeviceError(f'playing a bag needs the Python package rosbags, which is not there '
                          f'({error}): pip install rosbags') from error
    place = path if path.exists() else path.parent
    bag = reader.Bag(place)
    found = [acquisition for acquisition in contents.read_contents(bag, lambda progress: None)
             if len(acquisition.images)]
    if not found:
        raise DeviceError(f'{place} holds no image of a Miniscope (a topic image_raw)')
    chosen = found if place == path else [one for one in found if one.name == path.name]
    if len(chosen) != 1:
        names = ', '.join(str(place / acquisition.name) for acquisition in found)
        raise DeviceError(f'{place} holds {len(found)} acquisitions; name one of: {names}')
    return BagRecording(place / chosen[0].name, bag, chosen[0],
                        lambda: contents.images(bag, found))


def _is_bag(path: Path) -> bool:
    if path.is_file():
        return any(path.match(pattern) for pattern in _FILES)
    return (path / _METADATA).is_file() or any(
        next(path.glob(pattern), None) for pattern in _FILES)


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
        self._mine = mine
        self._images = images
        # Times of frame_info are on a clock that nobody sets.
        self._times_ns, moved = rising_ns(
            mine.images['time_ms'], gaps_are_real=bool(len(mine.frames)))
        if moved:
            self.warnings.append(f'{path}: times are not above the one before; {moved}')
        self.interval_ns, self.frame_rate = pace(self._times_ns, mine.frame_rate)
        self._orientations = _orientations(mine)
        self._numbers: dict[int, int] = dict(zip(
            mine.frames['stamp'].tolist(), mine.frames['capture_index'].tolist(), strict=True))
        self.has_frame_numbers = bool(self._numbers)
        self._shape = self._first_shape()
        self.height, self.width = self._shape[:2]
        self.encoding = 'mono8' if len(self._shape) == 2 else 'bgr8'

    def frames(self) -> Generator[RecordedFrame, None, None]:
        """Yield the frames as Recording says."""
        with closing(self._images()) as images:
            for acquisition, row, image in images:
                if acquisition is not self._mine:
                    continue
                if image.shape != self._shape:
                    raise DeviceError(f'{self.path}: image size {image.shape} differs from the '
                                      f'{self._shape} of the first')
                count = int(self._mine.images['device_frame_count'][row])
                stamp = int(self._mine.images['stamp'][row])
                yield RecordedFrame(
                    image=np.ascontiguousarray(image),
                    time_ns=int(self._times_ns[row]),
                    device_count=None if count < 0 else count,
                    orientation=self._orientations.get(stamp),
                    number=self._numbers.get(stamp))
                if row + 1 == self.frame_count:
                    break
        self.warnings += [text for text in self._bag.problems if text not in self.warnings]

    def _first_shape(self) -> tuple[int, ...]:
        with closing(self._images()) as images:
            for acquisition, _, image in images:
                if acquisition is self._mine:
                    return image.shape
        raise DeviceError(f'{self.path}: no image can be decoded')


def _orientations(acquisition: RecordedAcquisition) -> dict[int, Quaternion]:
    """Return the reading of each stamp, repeated readings, which have no row, included."""
    rows = {int(row['stamp']): (float(row['qw']), float(row['qx']), float(row['qy']),
                                float(row['qz'])) for row in acquisition.orientation}
    last = None
    for frame in acquisition.frames:
        stamp = int(frame['stamp'])
        if stamp in rows:
            last = rows[stamp]
        elif last is not None and frame['orientation'] == _REPEATED:
            rows[stamp] = last
    return rows
