# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The kinds of source by name; what few need is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import math
from threading import Event
from typing import Any

from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.errors import ConfigurationError, DeviceAbsent
from miniscope_ros.sources.miniscope import MiniscopeSource
from miniscope_ros.sources.source import Source
from miniscope_ros.transports import discovery
from miniscope_ros.transports.v4l2 import V4l2Transport

_SIMULATION = {'seed': 1.0, 'loss_on_the_way': 0.0, 'loss_at_the_source': 0.0}
_LARGEST_SEED = 2**32 - 1


def make_source(
    values: Mapping[str, Any], device_type: DeviceType | None, stop: Event,
) -> Source:
    """Return the source that parameter values ask for; opens nothing."""
    return SOURCES[values['source']](values, device_type, stop)


def make_daq(
    device: str, device_type: DeviceType, stop: Event, controls: Mapping[str, float],
    max_led: float = math.inf,
) -> MiniscopeSource:
    """Return the scope on a DAQ box; controls are the values to send, by name."""
    def find(port: str) -> V4l2Transport:
        found = discovery.find_port(port) if port else discovery.find(device)
        if found is None:
            raise DeviceAbsent(f'no DAQ box at USB port {port}: plug it in there again')
        return V4l2Transport(found.path, found.usb_port)

    return MiniscopeSource(device_type, find, stop, values=controls, max_led=max_led)


def _daq(values: Mapping[str, Any], device_type: DeviceType | None, stop: Event) -> Source:
    assert device_type is not None
    return make_daq(
        values['device'], device_type, stop, _controls(values, device_type),
        values.get('max_led', math.inf))


def _simulated(values: Mapping[str, Any], device_type: DeviceType | None, stop: Event) -> Source:
    from miniscope_ros.simulation.box import SimulatedTransport

    assert device_type is not None
    options = _simulation(values['device'])
    box = SimulatedTransport(
        device_type, seed=int(options['seed']),
        loss_rate=(options['loss_on_the_way'], options['loss_at_the_source']))
    return MiniscopeSource(
        device_type, lambda port: box, stop, values=_controls(values, device_type),
        max_led=values.get('max_led', math.inf), kind='simulated', pauses=False)


def _camera(values: Mapping[str, Any], device_type: DeviceType | None, stop: Event) -> Source:
    from miniscope_ros.sources.camera import CameraSource
    return CameraSource(stop, values['device'], values['frame_rate'])


def _replay(values: Mapping[str, Any], device_type: DeviceType | None, stop: Event) -> Source:
    from miniscope_ros.sources.replay import ReplaySource
    if not values['replay.path']:
        raise ConfigurationError(
            "replay.path is empty: set it to the recording's folder or file")
    return ReplaySource(
        values['replay.path'], rate=values['replay.rate'], loop=values['replay.loop'],
        stamps=values['replay.stamps'])


SOURCES: dict[
    str, Callable[[Mapping[str, Any], DeviceType | None, Event], Source]] = {
        'daq': _daq,
        'camera': _camera,
        'simulated': _simulated,
        'replay': _replay,
}


def _controls(values: Mapping[str, Any], device_type: DeviceType) -> dict[str, float]:
    return {name: float(values[name]) for name in device_type.controls}


def _simulation(device: str) -> dict[str, float]:
    """Read what to simulate: '' or 'seed=3,loss_on_the_way=0.01,loss_at_the_source=0.01'."""
    options = dict(_SIMULATION)
    for part in filter(None, device.split(',')):
        name, _, value = part.partition('=')
        name = name.strip()
        if not _is_option(name, value):
            raise ConfigurationError(
                f"device '{device}': a simulated scope is asked for with '' or with some of "
                f'{", ".join(_SIMULATION)} as in seed=3,loss_on_the_way=0.01; a seed is a whole '
                f'number from 0 to {_LARGEST_SEED}, a loss is a share from 0 to 1')
        options[name] = float(value)
    return options


def _is_option(name: str, value: str) -> bool:
    """Return whether an option of the simulation exists and may have this value."""
    try:
        number = float(value)
    except ValueError:
        return False
    if name == 'seed':
        return number.is_integer() and 0 <= number <= _LARGEST_SEED
    return name in _SIMULATION and 0 <= number <= 1
