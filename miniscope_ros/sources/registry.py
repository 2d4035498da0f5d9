# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The kinds of source by name; what few need is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import logging
import math
from threading import Event
from typing import Any

from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.daq.firmware import OPEN_EPHYS_UNIT
from miniscope_ros.errors import ConfigurationError, DeviceAbsent, DeviceError
from miniscope_ros.sources.miniscope import MiniscopeSource
from miniscope_ros.sources.source import Source
from miniscope_ros.transports import discovery
from miniscope_ros.transports.choice import Choice, choose
from miniscope_ros.transports.transport import Transport
from miniscope_ros.transports.v4l2 import V4l2Transport

_log = logging.getLogger(__name__)

OnOpening = Callable[[str, str], None]
"""Called with path and USB port before a DAQ box is opened."""

_SIMULATION = {
    'seed': 1.0, 'loss_on_the_way': 0.0, 'loss_at_the_source': 0.0,
    # Strengths of what makes the pictures harder to analyse; 1 is as in tissue.
    'background': 1.0, 'out_of_focus': 1.0, 'motion': 1.0, 'bleaching': 1.0}
_LARGEST_SEED = 2**32 - 1


def make_source(
    values: Mapping[str, Any], device_type: DeviceType | None, stop: Event,
    on_opening: OnOpening = lambda path, usb_port: None,
) -> Source:
    """
    Return the source that parameter values ask for; opens nothing.

    on_opening is called with path and USB port before each opening of a DAQ box.
    """
    if values['source'] == 'daq':
        return _daq(values, device_type, stop, on_opening)
    return SOURCES[values['source']](values, device_type, stop)


def find_device(values: Mapping[str, Any]) -> None:
    """
    Raise DeviceError if the device that parameter values name is not there; opens nothing.

    A source without a device is always there.
    """
    device = values.get('device', '')
    if values['source'] == 'daq':
        discovery.find_box(device)
    elif values['source'] == 'camera' and (not device or device.isdecimal()):
        discovery.find_camera(device)


def reset_device(
    values: Mapping[str, Any], device_type: DeviceType | None, stop: Event,
) -> str:
    """Reset a device that is not open; return in words what was done, or raise DeviceError."""
    return make_source(values, device_type, stop).hard_reset()


def make_daq(
    device: str, device_type: DeviceType, stop: Event, controls: Mapping[str, float],
    max_led: float = math.inf, *, transport: str = 'auto', trigger: bool = False,
    on_opening: OnOpening = lambda path, usb_port: None,
) -> MiniscopeSource:
    """
    Return the scope on a DAQ box; controls are the values to send, by name.

    transport is auto, v4l2 or usb; trigger says whether the box's digital inputs matter.
    """
    finder = DaqFinder(device, device_type, transport, trigger, on_opening)
    return MiniscopeSource(
        device_type, finder, stop, values=controls, max_led=max_led, warnings=finder.warnings)


class DaqFinder:
    """Finds a DAQ box and makes the transport to it; the kind is decided at the first opening."""

    def __init__(
            self, device: str, device_type: DeviceType, transport: str, trigger: bool,
            on_opening: OnOpening) -> None:
        self._device = device
        self._type = device_type
        self._wanted = transport
        self._trigger = trigger
        self._on_opening = on_opening
        self._choice: Choice | None = None

    def __call__(self, port: str) -> Transport:
        """Return the transport to the box at a USB port, '': to the one that was asked for."""
        found = discovery.find_box_at(port) if port else discovery.find_box(self._device)
        if found is None:
            raise DeviceAbsent(f'no DAQ box at USB port {port}: plug it in there again')
        choice = self._choice
        if choice is None:
            choice = self._choice = choose(
                self._wanted, found.usb_port, found.video is not None, OPEN_EPHYS_UNIT,
                orientation=self._type.orientation, trigger=self._trigger)
            _log.info('transport %s: %s', choice.kind, choice.reason)
        video = found.video.path if found.video else ''
        self._on_opening(video, found.usb_port)
        if choice.kind == 'usb':
            from miniscope_ros.transports.usb_uvc import UsbTransport
            return UsbTransport(found.usb_port, video)
        if not video:
            raise DeviceError(
                f'the DAQ box at USB port {found.usb_port} has no video node: load its driver '
                '(sudo modprobe uvcvideo) or plug it in again')
        return V4l2Transport(video, found.usb_port)

    def warnings(self) -> tuple[str, ...]:
        """Return what the chosen transport cannot do, with the remedy."""
        return (self._choice.warning,) if self._choice and self._choice.warning else ()


def _daq(
    values: Mapping[str, Any], device_type: DeviceType | None, stop: Event,
    on_opening: OnOpening = lambda path, usb_port: None,
) -> Source:
    assert device_type is not None
    return make_daq(
        values['device'], device_type, stop, _controls(values, device_type),
        values.get('max_led', math.inf), transport=values.get('transport', 'auto'),
        trigger=values.get('trigger.input', -1) >= 0, on_opening=on_opening)


def _simulated(values: Mapping[str, Any], device_type: DeviceType | None, stop: Event) -> Source:
    from miniscope_ros.simulation.box import SimulatedTransport
    from miniscope_ros.simulation.scene import Strengths

    assert device_type is not None
    options = simulation_options(values['device'])
    box = SimulatedTransport(
        device_type, seed=int(options['seed']),
        loss_rate=(options['loss_on_the_way'], options['loss_at_the_source']),
        strengths=Strengths(**{
            name: options[name] for name in Strengths.__dataclass_fields__}))
    return MiniscopeSource(
        device_type, lambda port: box, stop, values=_controls(values, device_type),
        max_led=values.get('max_led', math.inf), pauses=False)


def _camera(values: Mapping[str, Any], device_type: DeviceType | None, stop: Event) -> Source:
    from miniscope_ros.sources.camera import CameraSource
    from miniscope_ros.transports.camera_choice import CameraRequest
    return CameraSource(stop, values['device'], CameraRequest(
        values['image_width'], values['image_height'], values['pixel_format'],
        values['frame_rate'], values['exposure']))


def _replay(values: Mapping[str, Any], device_type: DeviceType | None, stop: Event) -> Source:
    from miniscope_ros.sources.replay import ReplaySource
    if not values['replay.path']:
        raise ConfigurationError(
            "replay.path is empty: set it to the recording's folder or file")
    return ReplaySource(
        values['replay.path'], rate=values['replay.rate'], loop=values['replay.loop'],
        stamps=values['replay.stamps'], stop=stop)


SOURCES: dict[
    str, Callable[[Mapping[str, Any], DeviceType | None, Event], Source]] = {
        'daq': _daq,
        'camera': _camera,
        'simulated': _simulated,
        'replay': _replay,
}


def _controls(values: Mapping[str, Any], device_type: DeviceType) -> dict[str, float]:
    return {name: float(values[name]) for name in device_type.controls}


def simulation_options(device: str) -> dict[str, float]:
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
