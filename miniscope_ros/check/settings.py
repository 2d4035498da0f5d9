# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What a run of the checks was asked for."""

from __future__ import annotations

from dataclasses import dataclass

_SEQUENCE_S, _QUICK_SEQUENCE_S = 60.0, 5.0
_PICTURES_S, _QUICK_PICTURES_S = 15.0, 3.0


@dataclass(frozen=True)
class Settings:
    """The options of check_scope."""

    device: str = ''
    device_type: str = 'Miniscope_V4_BNO'
    device_catalog: str = ''
    source: str = 'daq'  # or simulated
    transport: str = 'auto'
    quick: bool = False
    unattended: bool = False
    loopback: bool = False
    interactive: bool = False
    only: tuple[str, ...] = ()  # names of checks; empty: all

    @property
    def simulated(self) -> bool:
        """Return whether the scope is a simulated one."""
        return self.source == 'simulated'

    @property
    def sequence_s(self) -> float:
        """Return for how long frames are counted [s]."""
        return _QUICK_SEQUENCE_S if self.quick else _SEQUENCE_S

    @property
    def pictures_s(self) -> float:
        """Return for how long each check of the lit pictures looks at them [s]."""
        return _QUICK_PICTURES_S if self.quick else _PICTURES_S
