# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recording as a whole: it speaks to the scopes over ROS topics and services only."""
