# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Which topics of a scope are recorded, below its name."""

from __future__ import annotations

TOPICS = (
    'image_raw', 'image_raw/metadata', 'camera_info', 'frame_info', 'controls',
    'control_changes', 'digital_inputs')
ORIENTATION_TOPICS = (
    'imu/data', 'imu/metadata', 'orientation_rows', 'orientation_rows/metadata')
"""Topics of a scope that has the sensor."""
DISPLAY_TOPICS = ('image_display', 'image_display/metadata')
PER_FRAME = ('image_raw', 'camera_info', 'frame_info')
"""One message for each published frame."""
GENERAL = ('/diagnostics', '/rosout', '/parameter_events')
