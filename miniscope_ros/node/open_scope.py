# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The source and its capture: what exists only while the node is configured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import gc
import logging
from threading import Event
from typing import Any

from miniscope_ros.acquisition.capture import CaptureEngine
from miniscope_ros.acquisition.events import Status
from miniscope_ros.acquisition.orientation import OrientationValidator
from miniscope_ros.acquisition.ros_clock import RosTime
from miniscope_ros.acquisition.states import CaptureState
from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.daq.control import Control
from miniscope_ros.errors import ConfigurationError, DeviceError
from miniscope_ros.model import SourceInfo
from miniscope_ros.node.publishers import Publishers
from miniscope_ros.sources.registry import make_source
from miniscope_ros.watch.watch import Watch

_log = logging.getLogger(__name__)


class OpenScope:
    """One configured source; made at configure and dropped at cleanup."""

    def __init__(
        self,
        values: Mapping[str, Any],
        device_type: DeviceType | None,
        stop: Event,
        topics: Publishers,
        clock: RosTime,
        watch: Watch,
    ) -> None:
        """Prepare by parameter values; opens nothing. Waits are given up when stop is set."""
        self._source = make_source(values, device_type, stop, watch.opening)
        self._topics = topics
        self._watch = watch
        self._info: SourceInfo | None = None
        self._validator = OrientationValidator(
            values['orientation.max_norm_error'], values['orientation.stale_after'],
            max_rate=values['orientation.max_rate'], live=self._source.is_live)
        self._engine = CaptureEngine(
            self._source, topics, self._validator, clock=clock, on_attempt=watch.closed)
        self._engine.sync_output = values['sync_output']
        self._engine.reconnect = values['reconnect'] and self._source.is_live
        self._values = values
        self._engine.light_input = light_input(values)

    def open(self) -> SourceInfo:
        """Open the device, start its stream and set the scope up in the dark."""
        info = self._info = self._engine.open()
        self._validator.has_sensor = info.has_orientation
        reason = _unreadable_trigger(self._values, info)
        if reason:
            raise ConfigurationError(reason)
        return info

    @property
    def info(self) -> SourceInfo:
        """Return what was opened; ConfigurationError before that."""
        if self._info is None:
            raise ConfigurationError('the node is not configured')
        return self._info

    def activate(self) -> None:
        """Light up and publish."""
        self._watch.lighting()
        self._engine.activate()

    def deactivate(self) -> None:
        """Publish the last frame and go dark."""
        self._engine.deactivate()

    def close(self) -> None:
        """Go dark, close the device and remove its topics."""
        try:
            self._engine.close()
        finally:
            lit, opened = self.light_may_be_on, self._engine.status().info is not None
            self._watch.closed(not lit if lit or opened else None)
            self._topics.close()

    @property
    def light_may_be_on(self) -> bool:
        """Return whether the light was not seen to go dark (any thread)."""
        return self._source.may_be_lit

    def hard_reset(self) -> str:
        """Restart the box and return in words what was done; see CaptureEngine."""
        return self._engine.hard_reset()

    def refuse(self, name: str, value: Any) -> str:
        """Return why the open device cannot take a value of a control; empty if it can."""
        if name in ('trigger.input', 'trigger.action'):
            return _unreadable_trigger({**self._values, name: value}, self.info)
        try:
            if name in self._source.controls:
                self._source.check_value(name, float(value))
        except ConfigurationError as error:
            return str(error)
        return ''

    @property
    def state(self) -> CaptureState:
        """Return the state of the acquisition."""
        return self._engine.state

    @property
    def controls(self) -> Mapping[str, Control]:
        """Return what can be set on the source, by name."""
        return self._source.controls

    def send(self, name: str, value: float) -> None:
        """Send a value of a control with the next frame, whatever its parameter is."""
        self._source.set_value(name, value)

    def status(self) -> Status:
        """Return a snapshot; see CaptureEngine."""
        return self._engine.status()

    def apply(self, values: Mapping[str, Any], names: Iterable[str]) -> None:
        """Put parameters into force; names are those that were set."""
        self._validator.max_norm_error = values['orientation.max_norm_error']
        self._validator.stale_after = values['orientation.stale_after']
        self._validator.max_rate = values['orientation.max_rate']
        self._engine.reconnect = values['reconnect'] and self._source.is_live
        self._values = values
        self._engine.light_input = light_input(values)
        names = list(names)
        for name in names:
            if name in self._source.controls:
                self._source.set_value(name, float(values[name]))
        if 'sync_output' in names:
            try:
                self._engine.set_sync(values['sync_output'])
            except DeviceError as error:
                _log.warning('sync_output takes effect when the device is back: %s', error)


def light_input(values: Mapping[str, Any]) -> int | None:
    """Return the digital input that switches the light by parameter values; None: none does."""
    if values.get('trigger.action') != 'light':
        return None
    number = int(values['trigger.input'])
    return number if number >= 0 else None


def _unreadable_trigger(values: Mapping[str, Any], info: SourceInfo) -> str:
    """Return why an open source cannot read the trigger's input; empty if it can or has none."""
    action, number = values.get('trigger.action', 'none'), int(values.get('trigger.input', -1))
    if action == 'none' or number < 0 or number < info.inputs:
        return ''
    if info.inputs:
        return (f'trigger.action cannot be {action} with trigger.input {number}: this box has '
                f'{info.inputs} that can be read, numbered from 0')
    if info.transport == 'v4l2':
        return (f'trigger.action cannot be {action}: over V4L2 the kernel does not read the '
                'inputs of this box; set transport to usb')
    return f'trigger.action cannot be {action}: this source has no digital inputs'


def collect_garbage() -> None:
    """Free what an OpenScope held: its parts refer to each other, and hold large images."""
    gc.collect()
