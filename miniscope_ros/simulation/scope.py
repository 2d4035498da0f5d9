# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The simulated scope behind the box: its controls as they are, and what they do to a frame."""

from __future__ import annotations

from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.daq.packets import Packet
from miniscope_ros.simulation.scene import Exposure


class SimulatedScope:
    """The head stage of one device type; values are its controls' in the type's units."""

    def __init__(self, device_type: DeviceType, true_rate: float) -> None:
        """Make a scope with power; its frames come at true_rate times the rate that is set."""
        self._type = device_type
        self._true_rate = true_rate
        self.power_up()

    def power_up(self) -> None:
        """Take the values of power-on: dark, the rest as the type starts."""
        self.values = {
            name: control.darkest if control in self._type.lights else control.start
            for name, control in self._type.controls.items()}
        self._raw = {
            name: control.raw(self.values[name])
            for name, control in self._type.controls.items()}

    def execute(self, packet: Packet) -> None:
        """Let a packet that ran at the end of a frame change the registers."""
        for name, control in self._type.controls.items():
            raw = control.after(self._raw[name], packet)
            if raw is not None:
                self._raw[name] = raw
                # Between the two packets of one control there may be no value.
                value = control.value_of_raw(raw)
                self.values[name] = self.values[name] if value is None else value

    @property
    def period_ns(self) -> int:
        """Return the time from frame to frame [ns]."""
        return round(1e9 / self.values['frame_rate'] / self._true_rate)

    @property
    def light(self) -> float:
        """Return the power of all lights; 1: one at its maximum."""
        return sum(
            self.values[control.name] / control.maximum
            for control in self._type.lights if control.maximum)

    def exposure(self) -> Exposure:
        """Return the exposure of a frame that is wholly under the controls as they are."""
        gain = self.values.get('gain', 1.0)
        # The best focus is where the type starts.
        focus = self._type.controls.get('focus')
        defocus = self.values['focus'] - focus.start if focus else 0.0
        lasting = self._type.controls['frame_rate'].start / self.values['frame_rate']
        return Exposure(self.light * gain * lasting, gain, defocus)
