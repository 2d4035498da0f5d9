# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The controls of a scope: the values that the user wants, and how they are sent."""

from __future__ import annotations

from collections.abc import Mapping
import math
from threading import Lock
import time

from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.daq.control import Control, LIGHTS
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.model import ControlEvent, Reason, SourceEvent
from miniscope_ros.sources.miniscope_link import ScopeLink


class ScopeControls:
    """
    Holds the user's values and sends them through an open link.

    Each value that is sent is added to events. Only set may be called in any thread; all else
    belongs to the capture thread.
    """

    def __init__(
        self, device_type: DeviceType, values: Mapping[str, float], events: list[SourceEvent],
        max_led: float = math.inf,
    ) -> None:
        """
        Send nothing yet.

        Parameters
        ----------
        device_type : DeviceType
            Says which controls there are and how they are written to the scope.
        values : mapping of str to float
            The value of each control by name, in the control's own unit.
        events : list of SourceEvent
            Gets a ControlEvent for each value that is sent.
        max_led : float
            The highest value that a light may get, in the unit of the light.

        """
        self.lit = False  # the lights are sent with the user's values, else dark
        self.shaded = False  # dark all the same, until the trigger allows light
        self.dark_ns: int | None = None  # when LED dark was first sent since it was lit
        self._device_type = device_type
        self._values = dict(values)
        self._events = events
        self._max_led = max_led
        self._pending: list[tuple[str, float]] = []
        self._lock = Lock()

    @property
    def frame_rate(self) -> float:
        """Return the frame rate that the user wants [frames/s]."""
        return self._values['frame_rate']

    def set(self, name: str, value: float) -> None:
        """Note the new value of a control; send_pending sends it."""
        controls = self._device_type.controls
        with self._lock:
            self._values[name] = value
            # The newest value replaces an older one that waits, but never a command to go dark.
            self._pending = [
                (other, old) for other, old in self._pending
                if other != name or (name in LIGHTS and old == controls[name].darkest)]
            self._pending.append((name, value))

    def send_pending(self, link: ScopeLink) -> None:
        """Send what was set since the last call; the lights only while they may be lit."""
        if not self._pending:
            return
        with self._lock:
            pending, self._pending = self._pending, []
        for name, value in pending:
            if name in LIGHTS and (self.shaded or not self.lit):
                continue  # sent when the light goes on
            self._send(link, self._device_type.controls[name], value, Reason.USER)

    def send_all(self, link: ScopeLink, reason: Reason, *, rate: bool = True) -> int:
        """
        Send all controls with the user's values, the lights last, and dark unless lit.

        rate False leaves the frame rate out. Returns when that was done [ns, CLOCK_MONOTONIC].
        """
        controls = self._device_type.controls
        with self._lock:
            values = dict(self._values)
            self._pending.clear()
        for name in sorted(controls, key=LIGHTS.__contains__):
            if name in LIGHTS and (self.shaded or not self.lit):
                values[name] = controls[name].darkest
            if rate or name != 'frame_rate':
                self._send(link, controls[name], values[name], reason)
        return time.monotonic_ns()

    def send_lights(
        self, link: ScopeLink, reason: Reason, *, dark: bool, at_once: bool = False,
    ) -> None:
        """Send each light, dark or with the user's value; at_once is that of ScopeLink.send."""
        with self._lock:
            values = dict(self._values)
        for light in self._device_type.lights:
            self._send(
                link, light, light.darkest if dark else values[light.name], reason,
                at_once=at_once)

    def shade(self, link: ScopeLink | None, dark: bool) -> None:
        """Keep the light dark, or not any more; sent at once if a light is on."""
        if dark == self.shaded:
            return
        self.shaded = dark
        if link is None or not self.lit:
            return
        with self._lock:
            self._pending = [(name, value) for name, value in self._pending if name not in LIGHTS]
        self.send_lights(link, Reason.USER, dark=dark, at_once=dark)

    def dim(self, link: ScopeLink, reason: Reason) -> int:
        """Send LED dark unless it was sent since the light was on; return when [ns] it was."""
        if self.dark_ns is None:
            self.dark_ns = self.send_dark(link, reason)
        return self.dark_ns

    def send_dark(self, link: ScopeLink, reason: Reason) -> int:
        """
        Send LED dark, in spite of a full queue.

        It is an event only the first time since the light was on, and never refused. Returns
        when that was done [ns, CLOCK_MONOTONIC].
        """
        for light in self._device_type.lights:
            sent_ns = link.send(light.packets(light.darkest), at_once=True)
            if self.dark_ns is None:
                self._events.append(ControlEvent(
                    light.name, light.darkest, light.raw(light.darkest)[0], reason, sent_ns))
        return time.monotonic_ns()

    def _send(
        self, link: ScopeLink, control: Control, value: float, reason: Reason, *,
        at_once: bool = False,
    ) -> None:
        """Send one value; ConfigurationError for a light above max_led."""
        if control.name in LIGHTS and value > self._max_led:
            raise ConfigurationError(
                f'{control.name} {value:g} is above max_led {self._max_led:g}; not sent')
        sent_ns = link.send(control.packets(value), at_once=at_once)
        if control.name == 'frame_rate':
            link.note_rate(value, sent_ns)
        self._events.append(ControlEvent(
            control.name, value, control.raw(value)[0], reason, sent_ns))
