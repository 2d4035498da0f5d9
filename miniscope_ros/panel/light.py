# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What is known of a scope's light."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from miniscope_ros.panel.diagnosis import Part

LIGHTS = 'led'
"""The parameters whose names begin like this are lights."""


class Light(Enum):
    """The light as the node confirms it."""

    DARK = 'dark'
    LIT = 'lit'
    UNCONFIRMED = 'unconfirmed'
    CLOSED = 'closed'  # no device is open, so nobody can confirm anything
    NONE = 'none'  # the source has no light


def light_of(
    parts: Mapping[str, Part], controls: Mapping[str, float], lights: bool, silent: bool,
) -> tuple[Light, str]:
    """
    Return the state of the light, and a text that says why.

    parts are the node's newest diagnostics; controls are the values that it sent to the device
    last; lights: whether it has a light at all; silent: whether it has not reported for too long.
    A light counts as lit as soon as a value was sent, and as dark only when the diagnostics say
    so.
    """
    if silent:
        return Light.UNCONFIRMED, 'the node reports nothing: the light may be on'
    device, light = parts.get('device'), parts.get('light')
    if light is None:
        if device is not None and device.level == 'error':
            return Light.UNCONFIRMED, f'no device is open: {device.message}'
        return Light.CLOSED, 'no device is open'
    state = light.values.get('light', '').lower()
    if state == Light.UNCONFIRMED.value or light.level == 'error':
        return Light.UNCONFIRMED, light.message or 'the light may be on'
    if not lights:
        return Light.NONE, 'this source has no light that can be controlled'
    levels = {name: value for name, value in controls.items()
              if name.startswith(LIGHTS) and value > 0}
    if state == Light.LIT.value or (not state and light.message == Light.LIT.value) or levels:
        shown = ', '.join(f'{name} {value:g}' for name, value in levels.items())
        return Light.LIT, f'lit: {shown}' if shown else light.message
    return Light.DARK, 'dark, as the node has confirmed'
