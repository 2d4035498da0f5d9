# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The scope under test: opened when a check needs it, and what earlier checks have measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
import time

from miniscope_ros.check.settings import Settings
from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.errors import DeviceError, DeviceLost, Interrupted
from miniscope_ros.model import ControlEvent, Light, RawFrame, Reason, SourceInfo
from miniscope_ros.sources.darken import darken
from miniscope_ros.sources.miniscope import MiniscopeSource
from miniscope_ros.sources.registry import DaqFinder
from miniscope_ros.transports import discovery
from miniscope_ros.transports.transport import Transport

_SLICE_S = 0.2
_SILENCE_S = 2.0  # without a frame; the slowest usual rate is 5 frames/s
_BUFFERS = 16
_GLIMPSE = 6  # pictures of a glimpse; the last three count


class Bench:
    """
    One scope under test.

    Everything runs in one thread. All waits end with Interrupted when the stop event is set.
    """

    def __init__(
        self, settings: Settings, device_type: DeviceType, stop: Event,
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Open nothing yet; progress is called with what is being done now."""
        self.settings = settings
        self.device_type = device_type
        self.stop = stop
        self.progress = progress
        self.port = ''  # of the box, once it was found
        self.video = ''  # its video node; empty: none
        self.info: SourceInfo | None = None  # of the latest opening
        self.opening_s = 0.0  # how long that took
        self.levels: tuple[float, float] | None = None  # grey of the darkest and brightest step
        self.stretch: list[RawFrame] = []  # frames of the long count, without their images
        self._source: MiniscopeSource | None = None
        self._box: Transport | None = None  # the simulated one
        self._lit = False
        self._dark = True  # nothing was lit that is not known to be dark

    # Finding and opening

    def find(self) -> discovery.FoundBox:
        """Find the DAQ box; DeviceError if there is none that can be used."""
        found = discovery.find_box(self.settings.device)
        self.port = found.usb_port
        self.video = found.video.path if found.video else ''
        return found

    def transport(self, kind: str = '') -> Transport:
        """Return a closed transport to the box; kind is auto, v4l2 or usb, '': as set."""
        if self.settings.simulated:
            return self._simulated()
        if not self.port:
            self.find()
        finder = DaqFinder(
            self.port or self.settings.device, self.device_type,
            kind or self.settings.transport, False, lambda path, port: None)
        return finder(self.port)

    def _simulated(self) -> Transport:
        from miniscope_ros.simulation.box import SimulatedTransport
        if self._box is None:
            self._box = SimulatedTransport(self.device_type, loss_rate=0.0)
        return self._box

    def values(self) -> dict[str, float]:
        """Return the controls' values to begin with, the lights dark."""
        lights = {light.name for light in self.device_type.lights}
        return {
            name: control.darkest if name in lights else control.start
            for name, control in self.device_type.controls.items()}

    def open(self, kind: str = '') -> MiniscopeSource:
        """Open the scope, in the dark; any that was open is closed first."""
        self.close()
        source = self._source = MiniscopeSource(
            self.device_type, lambda port: self.transport(kind), self.stop,
            values=self.values(), pauses=not self.settings.simulated)
        began = time.monotonic()
        self.info = source.open(Reason.START)
        self.opening_s = time.monotonic() - began
        self._dark = True
        return source

    def active(self) -> MiniscopeSource:
        """Return the open scope, whose light may be set and whose controls are the usual ones."""
        if self._source is None:
            self.open()
        assert self._source is not None
        if not self._lit:
            for name, value in self.values().items():
                self._source.set_value(name, value)
            self._source.activate(Reason.USER)
            self._lit = True
        return self._source

    def close(self) -> bool:
        """Make it dark and close it; return whether all that was lit is known to be dark."""
        source, self._source, self._lit = self._source, None, False
        if source is not None:
            source.close()
            self._dark = self._dark and source.light is Light.DARK
        return self._dark

    def make_dark(self) -> None:
        """Make the scope dark although it is not open; MiniscopeError if that fails."""
        self.close()
        if not self.settings.simulated:
            darken(discovery.find_box(self.port), self.device_type)
        self._dark = True

    # Frames

    def check_stop(self) -> None:
        """Raise Interrupted if the program is to end."""
        if self.stop.is_set():
            raise Interrupted('ended by the user')

    def frame(self) -> RawFrame:
        """Return the next whole frame, its image valid until then; DeviceLost if none comes."""
        return self.frame_and_events()[0]

    def frame_and_events(self) -> tuple[RawFrame, list[ControlEvent]]:
        """Return the next whole frame and the values that were sent before it."""
        assert self._source is not None
        until = time.monotonic() + _SILENCE_S
        events: list[ControlEvent] = []
        while time.monotonic() < until:
            self.check_stop()
            frame = self._source.read(_SLICE_S)
            events += [one for one in self._source.take_events()
                       if isinstance(one, ControlEvent)]
            if frame is not None and not frame.damaged:
                return frame, events
        raise DeviceLost(f'no whole frame for {_SILENCE_S:g} s')

    def count_frames(self, seconds: float) -> list[RawFrame]:
        """
        Return the frames of so many seconds, damaged ones too, without their images.

        They are received once; a later call returns the same.
        """
        if self.stretch:
            return self.stretch
        source = self.active()
        began = last = time.monotonic()
        while (now := time.monotonic()) - began < seconds:
            self.check_stop()
            self.progress(f'counting frames: {seconds - (now - began):.0f} s left')
            frame = source.read(_SLICE_S)
            source.take_events()
            if frame is not None:
                last = now
                self.stretch.append(replace(frame, image=frame.image[:0].copy()))
            elif now - last > _SILENCE_S:
                raise DeviceLost(f'no frame for {_SILENCE_S:g} s')
        return self.stretch

    def skip(self, frames: int) -> None:
        """Discard frames."""
        for _ in range(frames):
            self.frame()

    def brightness(self, frames: int = 4) -> float:
        """Return the mean grey value of the next frames."""
        return sum(float(self.frame().image.mean()) for _ in range(frames)) / frames

    def step(self, name: str, value: float) -> None:
        """Set a control of the active scope, and discard what is not wholly under it."""
        source = self.active()
        source.set_value(name, value)
        self.skip(5)

    def glimpse(self) -> float:
        """
        Return the mean grey value that the scope shows, without sending it anything.

        So it is seen as another program has left it. Nothing may have it open.
        """
        self.close()
        if not (self.port or self.settings.simulated):
            self.find()
        transport = self.transport('v4l2' if self.video else 'usb')
        transport.open(self.device_type.width, self.device_type.height)
        try:
            transport.start(_BUFFERS)
            return self._look(transport)
        finally:
            transport.close()

    def _look(self, transport: Transport) -> float:
        seen: list[float] = []
        until = time.monotonic() + _SILENCE_S + _GLIMPSE * 0.5
        while len(seen) < _GLIMPSE:
            self.check_stop()
            if time.monotonic() > until:
                raise DeviceLost('no frames came to be looked at')
            buffer = transport.dequeue(_SLICE_S)
            if buffer is None:
                continue
            if not buffer.damaged:
                seen.append(float(buffer.data[::2].mean()))
            transport.requeue(buffer)
        return sum(seen[-3:]) / 3

    def wait_until_back(self, patience_s: float) -> float:
        """Open the scope again as soon as it is there; return how long that took [s]."""
        began = time.monotonic()
        while True:
            self.check_stop()
            try:
                self.open()
                return time.monotonic() - began
            except DeviceError:
                self.close()
                if time.monotonic() - began > patience_s:
                    raise
            self.stop.wait(_SLICE_S)
