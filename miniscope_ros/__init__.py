# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""ROS 2 driver for UCLA Miniscopes."""
