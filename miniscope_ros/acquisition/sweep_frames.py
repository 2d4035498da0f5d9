# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The frames that a sweep takes under one value, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass

from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.acquisition.sharpness import sharpness
from miniscope_ros.daq.control import LIGHTS, show
from miniscope_ros.errors import DeviceError
from miniscope_ros.model import Content
import numpy as np
from numpy.typing import NDArray

_FAULTS = frozenset({Content.BLOCKS_MISPLACED, Content.BANDED, Content.REPEATED})
_SPARE = 60  # frames that may pass beyond three times those that are wanted


@dataclass(frozen=True)
class SweepStep:
    """What was taken under one value."""

    value: float
    mean_image: NDArray[np.float32]  # (height, width) [grey values]
    sharpness: float  # see sharpness.sharpness
    brightness: float  # mean of mean_image [grey values]
    first_capture_index: int  # of the first frame
    last_capture_index: int
    images: tuple[NDArray[np.uint8], ...]  # (height, width) each; empty unless all are kept


class SweepFrames:
    """
    Collects the frames that are wholly under one value.

    The sums of every second frame are kept apart: sharpness needs two pictures.
    """

    def __init__(self, control: str, value: float, wanted: int, *, keep_all: bool) -> None:
        """Wait for so many frames; none is taken before starts_at was called."""
        self.value = value
        self._control = control
        self._wanted = wanted
        self._keep_all = keep_all
        self._faults = _FAULTS if control in LIGHTS else _FAULTS | {Content.DARK}
        self._starts_at: int | None = None  # capture index
        self._indices: list[int] = []
        self._seen = 0
        self._sums: list[NDArray[np.uint32]] = []  # of even and odd frames
        self._images: list[NDArray[np.uint8]] = []

    @property
    def complete(self) -> bool:
        """Return whether all frames are there."""
        return len(self._indices) >= self._wanted

    def starts_at(self, first_capture_index: int) -> None:
        """Take the frames from this index on: the first one wholly under the value."""
        self._starts_at = first_capture_index

    def add(self, frame: Frame) -> None:
        """
        Take a published frame, unless it is too early or its picture is damaged.

        Nor is one taken while another value is on its way, or after a restart of the head stage:
        what ends the sweep then is told some frames later.

        Raises DeviceError where too many frames pass that cannot be taken.
        """
        if self.complete:
            return
        self._seen += 1
        if (self._starts_at is not None and frame.capture_index >= self._starts_at
                and frame.settled and frame.content not in self._faults):
            self._keep(frame)
        elif self._seen > 3 * self._wanted + _SPARE:
            raise DeviceError(self._describe_want())

    def _keep(self, frame: Frame) -> None:
        image = frame.sample.image
        half = len(self._indices) % 2
        if half == len(self._sums):
            self._sums.append(np.zeros(image.shape, np.uint32))
        np.add(self._sums[half], image, out=self._sums[half])
        if self._keep_all:
            self._images.append(image.copy())
        self._indices.append(frame.capture_index)

    def _describe_want(self) -> str:
        name = f'{self._control} {show(self.value)}'
        if self._starts_at is None:
            return (f'{name} was not sent within {self._seen} frames: a light trigger keeps the '
                    'light dark while its input is low')
        return (f'only {len(self._indices)} of {self._seen} frames under {name} can be used: '
                'the pictures of the others are damaged')

    def result(self) -> SweepStep:
        """Return what was made of the frames; all are there."""
        total = len(self._indices)
        mean = (sum(self._sums[1:], self._sums[0]) / total).astype(np.float32)
        halves = [(image / ((total + 1 - half) // 2)).astype(np.float32)
                  for half, image in enumerate(self._sums)]
        return SweepStep(
            value=self.value, mean_image=mean, sharpness=sharpness(halves[0], halves[-1]),
            brightness=float(mean.mean()), first_capture_index=self._indices[0],
            last_capture_index=self._indices[-1], images=tuple(self._images))
