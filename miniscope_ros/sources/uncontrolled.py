# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What sources without a scope have in common: no controls, no light, no sync output."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from miniscope_ros.daq.control import Control
from miniscope_ros.errors import ConfigurationError, DeviceError
from miniscope_ros.model import ControlEvent, RawFrame


class UncontrolledSource:
    """A source that only gives frames; the rest of Source does nothing or refuses."""

    has_sync_output = False
    may_be_lit = False
    controls: Mapping[str, Control] = {}

    def __init__(self) -> None:
        self.on_control: Callable[[ControlEvent], None] = lambda event: None
        self.on_discarded: Callable[[RawFrame], None] = lambda sample: None

    def make_dark(self) -> None:
        """Do nothing: there is no light."""

    def reinitialise_head_stage(self) -> None:
        """Do nothing: there is no sensor to set up."""

    def set_sync(self, on: bool) -> None:
        """Do nothing: there is no sync output."""

    def set_value(self, name: str, value: float) -> None:
        """Refuse: ConfigurationError."""
        raise ConfigurationError(f'there is no {name} to set: this source has no controls')

    def hard_reset(self) -> None:
        """Refuse: DeviceError."""
        raise DeviceError('only a DAQ box can be reset')
