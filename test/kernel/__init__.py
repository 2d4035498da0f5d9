# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The driver on real kernels: User-Mode Linux, and a DAQ box by USB/IP (make kernel-test)."""
