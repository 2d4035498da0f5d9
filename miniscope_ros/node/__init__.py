# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The ROS 2 node: parameters, topics, services and diagnostics of one scope."""
