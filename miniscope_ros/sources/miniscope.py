# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A Miniscope behind its DAQ box: the protocol from opening to darkness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
import logging
import math
from threading import Event

from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.daq.control import Control
from miniscope_ros.daq.firmware import Firmware, recognise
from miniscope_ros.daq.packets import HARD_RESET
from miniscope_ros.errors import ConfigurationError, DeviceLost, Interrupted, MiniscopeError
from miniscope_ros.model import (
    Light,
    NEW_RATE_FRAMES,
    RawFrame,
    Reason,
    SourceEvent,
    SourceInfo,
)
from miniscope_ros.sources.miniscope_bringup import bring_up_link, FIRST_FRAME_S
from miniscope_ros.sources.miniscope_link import ScopeLink
from miniscope_ros.sources.patience import OUT_OF_TIME, Patience
from miniscope_ros.sources.scope_controls import ScopeControls
from miniscope_ros.transports.transport import Transport

_log = logging.getLogger(__name__)

_RING_S = 0.5  # the ring of buffers holds the frames of this time at the type's highest rate
_RING = (8, 32)  # but never fewer or more buffers
_REPEAT_AFTER_S = 1.0  # then all controls are sent a second time: scopes forget settings
_ENDS = 3  # frame ends after which packets have been executed, and frames are wholly under them
_DARK_REPEATS = 3  # LED dark is sent at so many frame ends
_DARK_ENDS = 2  # further frame ends that are awaited after that
_DARK_SPREAD_S = 0.004  # between the moments after a frame's arrival; see _darken
_DARK_FIRST_FRAME_S = 0.8  # the longest wait for a first frame when a box is opened to go dark

FindTransport = Callable[[str], Transport]
"""Makes the transport to the box at a USB port; '' is the box that the user named."""


class MiniscopeSource:
    """Frames of a Miniscope, its controls, its light; see Source."""

    is_live = True
    has_constant_rate = True
    has_sync_output = True

    def __init__(
        self,
        device_type: DeviceType,
        find: FindTransport,
        stop: Event,
        *,
        values: Mapping[str, float],
        max_led: float = math.inf,
        warnings: Callable[[], tuple[str, ...]] = tuple,
        pauses: bool = True,
    ) -> None:
        """
        Open nothing yet; values are the controls' by name, warnings is asked after opening.

        pauses False leaves out those of the protocol that give hardware time to settle (1.4 s
        in all); the frame ends that it waits for are awaited all the same.
        """
        self.device_type = device_type
        self.controls = device_type.controls
        self.light = Light.DARK
        self._find = find
        self._patience = Patience(stop)
        self._warnings = warnings
        self._pauses = pauses
        self._link: ScopeLink | None = None
        self._port = ''
        self._events: list[SourceEvent] = []
        self._wanted = ScopeControls(device_type, values, self._events, max_led)

    @property
    def may_be_lit(self) -> bool:
        """Return whether the light is on, or not known to be off; see Source."""
        return self.light is not Light.DARK

    # Opening and closing

    def open(self, reason: Reason) -> SourceInfo:
        """Open the box and set the scope up in the dark; see Source."""
        link = self._open_link()
        try:
            self.check_value('frame_rate', self._wanted.frame_rate)
            self._bring_up(link, FIRST_FRAME_S)
            self._darken(reason, more=0)  # frames go on
            link.wait_for_frame_ends(
                _ENDS, self._wanted.send_all(link, reason), _REPEAT_AFTER_S * self._pauses)
            link.wait_for_frame_ends(1, self._wanted.send_all(link, reason, rate=False))
        except BaseException:
            self.close()
            raise
        transport, firmware = link.transport, link.firmware
        return SourceInfo(
            width=self.device_type.width, height=self.device_type.height, encoding='mono8',
            device_type=self.device_type.name, has_orientation=self.device_type.orientation,
            frame_rate=self._wanted.frame_rate, firmware=firmware.name,
            card=transport.card, location=transport.location, path=transport.path,
            transport=transport.kind,
            inputs=0 if transport.kind == 'simulated' else firmware.inputs,
            has_blocks=True,
            warnings=self._warnings() + firmware.warnings)

    def make_dark(self, patience: float = _DARK_FIRST_FRAME_S) -> None:
        """
        Open the box only to make the light dark; see Source.

        patience [s] is how long a first frame is waited for.
        """
        if self._patience.out_of_time:
            raise Interrupted(OUT_OF_TIME)
        with self._patience.uninterruptible():
            try:
                self._bring_up(self._open_link(), patience)
                self._darken(Reason.STOP)
            finally:
                self.close()

    def close(self) -> None:
        """Make it dark if it may be lit, stop the stream and close; see Source."""
        link = self._link
        if link is None:
            return
        try:
            if self.light is not Light.DARK:
                self._darken(Reason.STOP)
        except MiniscopeError as error:
            _log.debug('not made dark while closing: %s', str(error))
        except Exception as error:  # the caller opens the box again to make it dark
            _log.error('not made dark while closing: %s', error, exc_info=error)
        finally:
            self._link = None
            self._wanted.lit = False
            self._wanted.dark_ns = None
            if self.light is Light.LIT:
                self.light = Light.UNCONFIRMED
            link.close()

    def _open_link(self) -> ScopeLink:
        transport = self._find(self._port)
        try:
            transport.open(self.device_type.width, self.device_type.height)
            firmware = recognise(transport, self.device_type.orientation)
            transport.start(_buffers(self.device_type))
        except BaseException:
            transport.close()
            raise
        self._port = transport.location
        self._wanted.dark_ns = None
        link = self._link = ScopeLink(
            transport, firmware, self.device_type, self._patience, self._events,
            self._wanted.frame_rate)
        return link

    def _bring_up(self, link: ScopeLink, first_frame_s: float) -> None:
        try:
            bring_up_link(
                link, self.device_type, first_frame_s=first_frame_s, pauses=self._pauses)
        finally:
            if link.came_up and self.light is Light.DARK:
                self.light = Light.UNCONFIRMED  # a program that died may have left it lit

    # Acquisition

    def activate(self, reason: Reason) -> None:
        """Light up and discard what is not wholly lit; see Source."""
        link = self._link_or_lost()
        self._wanted.lit, self._wanted.dark_ns = True, None
        self.light = Light.LIT
        link.wait_for_frame_ends(_ENDS, self._wanted.send_all(link, reason))
        link.wait_for_frame_ends(NEW_RATE_FRAMES - link.new_rate_frames, 0)

    def dim(self) -> None:
        """Send LED dark at once, without seeing it executed; see Source."""
        link = self._link_or_lost()
        link.readings = False
        self._wanted.lit = False
        self._wanted.dim(link, Reason.STOP)

    def shade(self, dark: bool) -> None:
        """Keep the light dark while an acquisition goes on, or not any more; see Source."""
        self._wanted.shade(self._link, dark)

    def deactivate(self) -> None:
        """Make the light dark and see it executed; see Source."""
        self._darken(Reason.STOP)

    def set_sync(self, on: bool) -> None:
        """Switch the sync output on or off, right after a frame; see Source."""
        link = self._link_or_lost()
        with self._patience.uninterruptible():
            link.catch_up()
        link.firmware.set_sync(on)
        late = link.since_last_frame()
        if late > 0.5 / self._wanted.frame_rate:
            _log.warning(
                'the sync output was switched %.0f ms after a frame, which is over half a '
                'period: it may have one edge more or less than there are frames', late * 1e3)

    def reinitialise_head_stage(self, *, dark: bool = False) -> None:
        """Send the init list and the controls again; see Source."""
        link = self._link_or_lost()
        self._wanted.send_pending(link)
        if dark:
            self._wanted.send_lights(link, Reason.RESUME, dark=True)
        link.send(self.device_type.init)
        self._wanted.send_all(link, Reason.RESUME)

    def read(self, timeout: float) -> RawFrame | None:
        """Return the next frame; see Source."""
        link = self._link_or_lost()
        self._wanted.send_pending(link)
        sample = link.dequeue(timeout)
        if sample is None:
            link.check_freeze()
        return sample

    def take_events(self) -> Sequence[SourceEvent]:
        """Return what commands sent and discarded since the last call; see Source."""
        if not self._events:  # as before nearly every frame
            return ()
        events = tuple(self._events)
        self._events.clear()
        return events

    def waiting(self) -> bool:
        """Return whether another frame is ready; see Source."""
        return self._link is not None and self._link.waiting()

    def ros_time_ns(self, sample: RawFrame, at: Callable[[int], int]) -> int:
        """Return the ROS time of the stamp; see Source."""
        return at(sample.stamp_ns)

    def check_value(self, name: str, value: float) -> None:
        """Refuse a frame rate that the open box cannot stand; see Source."""
        link = self._link
        if name == 'frame_rate' and link is not None:
            _check_rate(link.firmware, self.controls['frame_rate'], value)

    def set_value(self, name: str, value: float) -> None:
        """Note a control's new value; see Source."""
        try:
            self.check_value(name, value)
        except ConfigurationError as error:
            _log.error('not sent: %s', error)
            return
        self._wanted.set(name, value)

    def hard_reset(self) -> str:
        """Restart the box: by packet while frames flow, else by a reset of its USB port."""
        link = self._link
        if link is not None and link.frames_flow():
            try:
                with self._patience.uninterruptible():
                    # An acquisition goes on: what still comes of the old stream is published.
                    link.wait_for_frame_ends(_ENDS, link.send([HARD_RESET]), keep=True)
            except DeviceLost:
                if link.frames_flow():
                    return 'the box restarts'  # not frozen: it has executed the packet
        (link.transport if link is not None else self._find(self._port)).reset_port()
        return 'the USB port of the box was reset; its firmware goes on where it was'

    # Darkness

    def _darken(self, reason: Reason, more: int = _DARK_ENDS) -> None:
        """
        Send LED dark at three successive frame ends and see more of them: it was executed.

        The first sending waits for nothing: no reading, no room in the queue, no frame. The
        scope's controller may swallow a packet after a truncated one, and the box may lose a
        word that meets its work at a frame's end, so the others come at other times after a
        frame's arrival. The stop event does not interrupt this, since it is what is done on stop.
        But a program that has to end waits for slow frames only as long as it may, sends the
        other packets at once and is content with one execution. A box that has stopped sending
        frames gets the packets, too: it executes them when frames come again.
        """
        link = self._link_or_lost()
        readings, link.readings = link.readings, False
        executed = 0
        try:
            with self._patience.uninterruptible():
                since_ns = self._wanted.dim(link, reason)
                for repeat in range(_DARK_REPEATS):
                    if repeat:
                        link.rest_after_frame(repeat * _DARK_SPREAD_S)
                        since_ns = self._wanted.send_dark(link, reason)
                    with suppress(Interrupted):
                        link.wait_for_frame_ends(1, since_ns)
                        executed += 1
                with suppress(Interrupted):
                    link.wait_for_frame_ends(more, since_ns)
        finally:
            link.readings = readings
        if not executed:
            raise Interrupted(OUT_OF_TIME)
        if executed < _DARK_REPEATS:
            _log.warning(
                'frames came so slowly that LED dark was seen executed %d times, not %d',
                executed, _DARK_REPEATS)
        self._wanted.lit = False
        self._wanted.dark_ns = None
        self.light = Light.DARK
        link.readings = True

    def _link_or_lost(self) -> ScopeLink:
        if self._link is None:
            raise DeviceLost('the DAQ box is not connected')
        return self._link


def _buffers(device_type: DeviceType) -> int:
    """Return how many buffers the ring of a type has."""
    rates = device_type.controls['frame_rate'].choices or {}
    return min(max(math.ceil(_RING_S * max(rates)), _RING[0]), _RING[1])


def _check_rate(firmware: Firmware, control: Control, rate: float) -> None:
    """Raise ConfigurationError for a frame rate with which the box could not be reached."""
    longest = firmware.longest_period_s
    if longest is None or 1 / rate <= longest:
        return
    slowest = min(choice for choice in control.choices or {} if 1 / choice <= longest)
    raise ConfigurationError(
        f'frame_rate cannot be {rate:g} with {firmware.name} firmware: it restarts its transfer '
        f'when no frame comes for {1e3 * longest:.0f} ms, and the scope could not be reached any '
        f'more; use {slowest:g} or more')
