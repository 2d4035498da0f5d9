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

_SHORTEST_HEADER = 2
_SLOPES = 31  # frames over which the cadence is taken
_FEWEST = 8  # payloads of a frame that show a cadence


@dataclass(slots=True)
class Frame:
    """One frame put together from its payloads."""

    data: NDArray[np.uint8]  # room for one whole frame, 1-D
    sequence: int
    used: int = 0  # bytes received
    damaged: bool = False  # torn, too short, too long, or with the device's error bit
    arrivals_ns: list[int] = field(default_factory=list)  # of each payload


class FrameAssembler:
    """
    Puts frames together from payloads, as uvcvideo's uvc_video_decode_start does.

    A frame begins with a payload whose frame ID differs from the last one's, and ends with the
    end-of-frame bit, or where the next frame begins. Sequence numbers count the toggles of the
    frame ID. One thing differs: the box resets its frame ID when it restarts its transfer, and a
    frame that begins after an end of frame with the same ID is delivered and counted here, while
    uvcvideo drops it.
    """

    def __init__(self, frame_bytes: int) -> None:
        """Begin a stream of frames of that many bytes."""
        self._frame_bytes = frame_bytes
        self._free: list[NDArray[np.uint8]] = []
        self._frame: Frame | None = None
        self._frame_id = -1
        self._sequence = -1

    def add(self, payload: memoryview, arrival_ns: int) -> list[Frame]:
        """Take a payload, header included; return the frames that it completed."""
        if len(payload) < _SHORTEST_HEADER or not 2 <= payload[0] <= len(payload):
            self.tear()
            return []
        done = []
        flags = payload[1]
        frame_id = flags & PAYLOAD_FRAME_ID
        if self._frame is not None and frame_id != self._frame_id:
            done.append(self._finish(self._frame))
        frame = self._frame
        if frame is None:
            frame = self._frame = self._begin(frame_id)
        self._fill(frame, payload[payload[0]:])
        frame.arrivals_ns.append(arrival_ns)
        if flags & PAYLOAD_ERROR:
            frame.damaged = True
        if flags & PAYLOAD_END_OF_FRAME:
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

    def _begin(self, frame_id: int) -> Frame:
        self._sequence += 1
        self._frame_id = frame_id
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
        self._slopes: deque[float] = deque(maxlen=_SLOPES)

    def start_ns(self, arrivals_ns: list[int]) -> int:
        """Return when the first payload of a whole frame arrived [ns], from all arrivals."""
        count = len(arrivals_ns)
        if count < _FEWEST:
            return arrivals_ns[0]
        arrivals = np.array(arrivals_ns, np.int64)
        half = count // 2
        slope = float(np.median(arrivals[half:] - arrivals[:-half])) / half
        self._slopes.append(slope)
        # A pace taken for too slow would move the start to before the truth, so the faster of the
        # two counts: another frame rate shows at once, and noise does no harm.
        slope = min(slope, float(np.median(self._slopes)))
        return int((arrivals - np.round(slope * np.arange(count)).astype(np.int64)).min())
