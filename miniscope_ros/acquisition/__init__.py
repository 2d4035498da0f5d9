# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""From a source to frames that are accounted for, without ROS."""
