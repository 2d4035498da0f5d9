# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Pictures for the eye, with NumPy and OpenCV only."""
