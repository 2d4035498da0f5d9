# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Frames out of the payloads of a UVC stream, and when each of them began."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from miniscope_ros.transports.uvc import (
    PAYLOAD_END_OF_FRAME,
    PAYLOAD_ERROR,
    PAYLOAD_FRAME_ID,
)
import numpy as np
from numpy.typing import NDArray

_RESTART_NS = 390_000_000
"""The firmware restarts its transfer when no data came for 400 ms (1694a6f)."""
_PACES = 31  # frames over which the median pace is taken
_FEWEST = 8  # payloads of a frame that show a pace
_OTHER_RATE = 0.8  # a frame's pace below this part of the median is a change, not noise


@dataclass(slots=True)
class Frame:
    """One frame put together from its payloads."""

    data: NDArray[np.uint8]  # room for one whole frame, 1-D
    sequence: int
    used: int = 0  # bytes received
    damaged: bool = False  # torn, too short, too long, or with the device's error bit
    arrivals_ns: list[int] = field(default_factory=list)  # of each payload


class FrameBoundaries:
    """
    Where frames begin and end in a stream of payloads, as uvcvideo's uvc_video_decode_start.

    A frame ends with the end-of-frame bit, or where the next one begins: with another frame ID,
    or after a silence in which the box has restarted its transfer. Such a restart resets the
    frame ID, so that a frame may have the same as the one before. uvcvideo drops these frames.
    """

    def __init__(self) -> None:
        self.received = 0  # payloads of the frame that is being received
        self._frame_id = -1
        self._last_ns = 0

    def look(self, flags: int, arrival_ns: int) -> tuple[bool, bool]:
        """Take a payload's flags; return whether it begins a frame again, and ends one."""
        frame_id = flags & PAYLOAD_FRAME_ID
        cuts = self.received > 0 and (
            frame_id != self._frame_id or arrival_ns - self._last_ns > _RESTART_NS)
        ends = bool(flags & PAYLOAD_END_OF_FRAME)
        self._frame_id = frame_id
        self._last_ns = arrival_ns
        self.received = 0 if ends else 1 if cuts else self.received + 1
        return cuts, ends


class FrameAssembler:
    """Puts frames together from payloads; FrameBoundaries says where each frame begins."""

    def __init__(self, frame_bytes: int) -> None:
        """Begin a stream of frames of that many bytes."""
        self._frame_bytes = frame_bytes
        self._free: list[NDArray[np.uint8]] = []
        self._frame: Frame | None = None
        self._sequence = -1

    def add(self, payload: memoryview, arrival_ns: int, cuts: bool, ends: bool) -> list[Frame]:
        """
        Take a payload, header included; return the frames that are complete now.

        cuts and ends are what FrameBoundaries says of it.
        """
        done = []
        if self._frame is not None and cuts:
            done.append(self._finish(self._frame))
        frame = self._frame
        if frame is None:
            frame = self._frame = self._begin()
        self._fill(frame, payload[payload[0]:])
        frame.arrivals_ns.append(arrival_ns)
        if payload[1] & PAYLOAD_ERROR:
            frame.damaged = True
        if ends:
            done.append(self._finish(frame))
        return done

    def tear(self) -> None:
        """
        Note that a payload was lost: the frame that is being received is damaged.

        Between two frames nothing is known of it yet: the frame that it belonged to is short.
        """
        if self._frame is not None:
            self._frame.damaged = True

    def give_back(self, data: NDArray[np.uint8]) -> None:
        """Use a frame's memory again."""
        self._free.append(data)

    def _begin(self) -> Frame:
        self._sequence += 1
        data = self._free.pop() if self._free else np.empty(self._frame_bytes, np.uint8)
        return Frame(data, self._sequence)

    def _fill(self, frame: Frame, content: memoryview) -> None:
        end = frame.used + len(content)
        if end > self._frame_bytes:
            frame.damaged = True
            content = content[:self._frame_bytes - frame.used]
            end = self._frame_bytes
        frame.data.data[frame.used:end] = content
        frame.used = end

    def _finish(self, frame: Frame) -> Frame:
        self._frame = None
        if frame.used != self._frame_bytes:
            frame.damaged = True
        return frame


class StartEstimator:
    """
    When a frame began, from the arrivals of all its payloads.

    The payloads leave the box at an even pace while the sensor is read out, and a busy computer
    takes each of them late by another amount, never early. The line of that pace which no
    arrival lies below therefore meets the first payload's true arrival better than the one time
    at which it was taken.
    """

    def __init__(self) -> None:
        self._paces: deque[float] = deque(maxlen=_PACES)

    def start_ns(self, arrivals_ns: list[int]) -> int:
        """Return when the first payload of a whole frame arrived [ns], from all arrivals."""
        count = len(arrivals_ns)
        if count < _FEWEST:
            return arrivals_ns[0]
        own = _pace(arrivals_ns)
        self._paces.append(own)
        pace = sorted(self._paces)[len(self._paces) // 2]
        if own < _OTHER_RATE * pace:
            pace = own  # another frame rate; too slow a pace would give a start before the truth
        return min(
            arrival - round(pace * number) for number, arrival in enumerate(arrivals_ns))


def _pace(arrivals_ns: list[int]) -> float:
    """Return the time between payloads [ns]: the slope of the hull below the arrivals."""
    hull: list[tuple[int, int]] = []
    for point in enumerate(arrivals_ns):
        while len(hull) > 1 and _turns_down(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    middle = len(arrivals_ns) / 2
    right = next(place for place, (number, _) in enumerate(hull) if number >= middle)
    (first, begin), (last, end) = hull[right - 1], hull[right]
    return (end - begin) / (last - first)


def _turns_down(first: tuple[int, int], middle: tuple[int, int], last: tuple[int, int]) -> bool:
    """Return whether the middle point lies on or above the line between the others."""
    return ((middle[1] - first[1]) * (last[0] - first[0])
            >= (last[1] - first[1]) * (middle[0] - first[0]))
