# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the topics need of the parameters, as one snapshot that does not change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from miniscope_ros.display.renderer import DisplaySettings


@dataclass(frozen=True)
class TopicSettings:
    """The parameters that shape the topics; a new one is made when a parameter changes."""

    frame_id: str
    imu_frame_id: str
    world_frame_id: str
    table_header: tuple[str, ...]
    frame_rate: float | None  # as set [frames/s]; None: the source has no such parameter
    skip_repeated: bool
    stddev: float  # of the orientation [rad]; 0 is unknown
    display: DisplaySettings
    display_max_rate: float  # [frames/s]; 0 is every frame
    jpeg_quality: int


def topic_settings(values: Mapping[str, Any]) -> TopicSettings:
    """Return what these parameter values, by name, mean for the topics."""
    rate = values.get('frame_rate')
    return TopicSettings(
        frame_id=values['frame_id'],
        imu_frame_id=values['imu_frame_id'],
        world_frame_id=values['world_frame_id'],
        table_header=tuple(values['table_header']),
        frame_rate=None if rate is None else float(rate),
        skip_repeated=values['orientation.skip_repeated'],
        stddev=values['orientation.stddev'],
        display=display_settings(values),
        display_max_rate=values['display.max_rate'],
        jpeg_quality=values['display.jpeg_quality'],
    )


def display_settings(values: Mapping[str, Any]) -> DisplaySettings:
    """Return the settings of the display that these parameter values, by name, mean."""
    return DisplaySettings(
        mode=values['display.mode'],
        background_alpha=values['display.background_alpha'],
        minimum=values['display.minimum'],
        maximum=values['display.maximum'],
        orientation_indicator=values['display.orientation_indicator'],
        text_indicator=values['display.text_indicator'],
        loss_indicator=values['display.loss_indicator'],
        delta_f_maximum=values['display.delta_f_maximum'],
        highlight_saturation=values['display.highlight_saturation'],
        color_map=values['display.color_map'],
        # At the default window numbers are of no use: the picture would look black.
        scale_difference=(values['display.minimum'], values['display.maximum']) == (0, 255),
    )
