# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The pixels of a bag's images, in the order of the acquisitions' tables."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from miniscope_ros.recordings.bag.message import Message, message_stamp, Topic, WHOLE
from miniscope_ros.recordings.bag.pixels import camera_pixels, scope_pixels
from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.tables import RecordedAcquisition
import numpy as np
from numpy.typing import NDArray

# Of images that came before their turn; a recorder has a queue of tens of messages.
_HELD_IMAGES = 64
_HELD_BYTES = 1 << 27

Image = NDArray[np.uint8]
"""(height, width), or (height, width, 3) BGR."""


def images(bag: Bag, acquisitions: list[RecordedAcquisition],
           ) -> Generator[tuple[RecordedAcquisition, int, Image], None, None]:
    """
    Yield acquisition, row of its images table, and the pixels of each image, the rows rising.

    Only images of the given acquisitions are decoded. One that cannot be used is left out and
    becomes a problem of the bag.
    """
    queues: dict[str, list[_Queue]] = {}
    for acquisition in acquisitions:
        if len(acquisition.images):
            queues.setdefault(acquisition.topic, []).append(_Queue(acquisition))

    def wanted(topic: Topic) -> int:
        return WHOLE if topic.name in queues else 0

    for message in bag.messages(wanted):
        yield from _take(bag, message, queues[message.topic.name])
    for scope_queues in queues.values():
        for queue in scope_queues:
            yield from queue.rest()


def _take(bag: Bag, message: Message, queues: list[_Queue],
          ) -> Iterator[tuple[RecordedAcquisition, int, Image]]:
    try:
        stamp = message_stamp(message)
    except ValueError:
        return  # noted in the first pass
    for queue in queues:
        row = queue.row(stamp)
        if row is not None:
            yield from queue.put(row, decode(bag, message, queue.acquisition))
            return


def decode(bag: Bag, message: Message, acquisition: RecordedAcquisition) -> Image | None:
    """Return the pixels of an image; None, and a note, where they cannot be used."""
    decoded = bag.decode(message)
    if decoded is None:
        return None
    is_camera, shape = acquisition.is_camera, acquisition.shape
    pixels = camera_pixels(decoded) if is_camera else scope_pixels(decoded)
    if pixels is None and hasattr(decoded, 'encoding'):
        bag.note(f'{message.topic.name}: an image of {decoded.width}x{decoded.height} '
                 f'{decoded.encoding} with {len(decoded.data)} bytes cannot be used'
                 + ('' if is_camera else '; mono8 and bgr8 can'))
    elif pixels is None:
        bag.note(f'{message.topic.name}: an image of format {decoded.format!r} with '
                 f'{len(decoded.data)} bytes cannot be used')
    elif shape is not None and shape != pixels.shape[:2]:
        bag.note(f'{message.topic.name}: an image of {decoded.width}x{decoded.height} stands '
                 f'among such of {shape[1]}x{shape[0]} and is left out')
        return None
    return pixels


class _Queue:
    """
    Puts the images of one acquisition into the order of its table.

    They stand in the bag in the order of writing. A recorder that compresses messages in several
    threads writes them a few places off.
    """

    def __init__(self, acquisition: RecordedAcquisition) -> None:
        self.acquisition = acquisition
        self._stamps = np.ascontiguousarray(acquisition.images['stamp'])
        self._order = np.argsort(self._stamps, kind='stable')
        self._sorted = self._stamps[self._order]
        self._taken = np.zeros(len(self._stamps), bool)
        self._next = 0
        self._held: dict[int, Image | None] = {}  # None: cannot be used
        self._bytes = 0

    def row(self, stamp: int) -> int | None:
        """Return the row of an image by its stamp [ns], of equal ones the first left."""
        place = int(np.searchsorted(self._sorted, stamp))
        while place < len(self._sorted) and self._sorted[place] == stamp:
            row = int(self._order[place])
            if not self._taken[row]:
                self._taken[row] = True
                return row
            place += 1
        return None

    def put(self, row: int, image: Image | None,
            ) -> Iterator[tuple[RecordedAcquisition, int, Image]]:
        """Take an image; yield those whose turn it is."""
        if row < self._next:
            return  # far behind its place; counted among those that could not be read
        self._held[row] = image
        self._bytes += 0 if image is None else image.nbytes
        while self._held and (self._next in self._held or self._bytes > _HELD_BYTES
                              or len(self._held) > _HELD_IMAGES):
            if self._next not in self._held:
                self._next = min(self._held)
            yield from self._pop()

    def rest(self) -> Iterator[tuple[RecordedAcquisition, int, Image]]:
        """Yield what still waits for images that did not come."""
        while self._held:
            self._next = min(self._held)
            yield from self._pop()

    def _pop(self) -> Iterator[tuple[RecordedAcquisition, int, Image]]:
        image = self._held.pop(self._next)
        row, self._next = self._next, self._next + 1
        if image is not None:
            self._bytes -= image.nbytes
            yield self.acquisition, row, image
