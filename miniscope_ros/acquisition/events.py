# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What an acquisition reports: as it happens to its listener, and when asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.acquisition.loss import LossTotals
from miniscope_ros.acquisition.orientation import OrientationHealth
from miniscope_ros.acquisition.ros_clock import ClockState
from miniscope_ros.acquisition.states import CaptureState
from miniscope_ros.model import Content, ControlEvent, Light, SourceInfo


@dataclass(frozen=True)
class Change:
    """A control value that was sent, and the first frame wholly under it."""

    event: ControlEvent
    stamp_ns: int  # ROS clock
    first_capture_index: int  # -1 while inactive


class Listener(Protocol):
    """
    Receives frames and events of an acquisition.

    Called in the capture thread; must not block, and not call back into the acquisition.
    """

    @property
    def display_skipped(self) -> int:
        """Return how many display frames of this acquisition were skipped for want of time."""
        ...

    def on_info(self, info: SourceInfo) -> None:
        """Take what is known of the source; called whenever it was opened."""
        ...

    def on_frame(self, frame: Frame) -> None:
        """Publish a frame; its image is valid until return."""
        ...

    def on_change(self, change: Change) -> None:
        """Publish a control value that was sent."""
        ...

    def on_inputs(self, levels: int, stamp_ns: int) -> None:
        """Publish new levels of the digital inputs; called when they changed."""
        ...

    def on_started(self) -> None:
        """Begin an acquisition: the next frame is its first; its rate is not measured yet."""
        ...

    def on_sensor_rate(self, rate: float) -> None:
        """Take the measured frame rate [frames/s]; called once an acquisition."""
        ...

    def on_interrupted(self, reason: str) -> None:
        """Take why no frames come any more: the device is lost, or the acquisition failed."""
        ...

    def on_stopped(self) -> None:
        """Leave the active state: the acquisition has ended by itself."""
        ...


@dataclass(frozen=True)
class Status:
    """A snapshot for diagnostics."""

    state: CaptureState
    error: str  # why it is disconnected, interrupted or failed
    info: SourceInfo | None
    received: int  # good frames since configuration, published or not
    damaged: int  # damaged frames since configuration
    backlog: int  # frames that waited behind another one, at most; -1 where stamps do not show it
    published: int  # of the running or last acquisition, as the next two
    losses: LossTotals
    duration_s: float
    reconnects: int
    period_ns: float
    jitter_ns: float
    bad_stamps: int
    clock: ClockState
    orientation: OrientationHealth
    light: Light
    lights: Mapping[str, float]  # as last sent to the device, by name
    restarts: int  # of the head stage, since configuration
    restart_error: str  # why it is not set up again, or that this does not help
    contents: Mapping[Content, int]  # faulty pictures of the running or last acquisition

    @property
    def may_be_lit(self) -> bool:
        """Return whether the light is on, or not known to be off."""
        return self.light is not Light.DARK

    @property
    def captured(self) -> int:
        """Return how many frames the scope took, as far as known."""
        return self.published + self.losses.lost
