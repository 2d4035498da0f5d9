# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The page in the browser: a node that shows and steers scopes over ROS only."""
