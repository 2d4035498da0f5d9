# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What sources without a scope have in common: no controls, no light, no sync output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from miniscope_ros.daq.control import Control
from miniscope_ros.errors import ConfigurationError, DeviceError
from miniscope_ros.model import Light, SourceEvent


class UncontrolledSource:
    """A source that only gives frames; the rest of Source does nothing or refuses."""

    has_sync_output = False
    light = Light.DARK
    may_be_lit = False
    controls: Mapping[str, Control] = {}

    def take_events(self) -> Sequence[SourceEvent]:
        """Return nothing: no command discards frames or sends values."""
        return ()

    def dim(self) -> None:
        """Do nothing: there is no light."""

    def shade(self, dark: bool) -> None:
        """Do nothing: there is no light."""

    def make_dark(self) -> None:
        """Do nothing: there is no light."""

    def reinitialise_head_stage(self, *, dark: bool = False) -> None:
        """Do nothing: there is no sensor to set up."""

    def set_sync(self, on: bool) -> None:
        """Do nothing: there is no sync output."""

    def check_value(self, name: str, value: float) -> None:
        """Do nothing: there is no such value."""

    def set_value(self, name: str, value: float) -> None:
        """Refuse: ConfigurationError."""
        raise ConfigurationError(f'there is no {name} to set: this source has no controls')

    def hard_reset(self) -> str:
        """Refuse: DeviceError."""
        raise DeviceError('only a DAQ box can be reset')
