# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A virtual DAQ box as a USB device of a real kernel, by USB/IP."""
