# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A Miniscope DAQ box at the kernel's interface, without hardware. README.md says how."""

from .box import Box, BoxConfig, Fault, Protocol, Status
from .build import library_path
from .camera import Offer, UvcCamera
from .pacing import pacing_violations
from .rig import is_preloaded, reexec_preloaded, VirtualDaq

__all__ = [
    'Box', 'BoxConfig', 'Fault', 'is_preloaded', 'library_path', 'Offer',
    'pacing_violations', 'Protocol', 'reexec_preloaded', 'Status', 'UvcCamera', 'VirtualDaq',
]
