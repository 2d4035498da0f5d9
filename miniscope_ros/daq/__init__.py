# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The DAQ box's protocol: packets, catalogue of device types, firmware families."""
