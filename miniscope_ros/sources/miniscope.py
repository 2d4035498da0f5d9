# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A Miniscope behind its DAQ box: the protocol from opening to darkness."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
import logging
import math
from threading import Event, Lock
import time

from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.daq.control import Control, LIGHTS
from miniscope_ros.daq.firmware import Firmware, recognise, Telemetry
from miniscope_ros.daq.packets import HARD_RESET, serdes
from miniscope_ros.errors import (
    ConfigurationError,
    DeviceLost,
    Interrupted,
    MiniscopeError,
    NoLink,
)
from miniscope_ros.model import (
    ControlEvent,
    NEW_RATE_FRAMES,
    RawFrame,
    Reason,
    SourceInfo,
    StampSource,
)
from miniscope_ros.transports.transport import Buffer, Transport
import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger(__name__)

_RING_SECONDS = 0.5
_RING = (8, 32)
_FIRST_FRAME = 2.0
_SERDES_PAUSE = 0.4
_SETTLE = 1.0
_ENDS = 3  # frame ends after which packets have been executed, and frames are wholly under them
_QUEUE = 32  # packets waiting in the box at most, half of what it can hold
_DARK_REPEATS = 3
_DARK_ENDS = 2
_DARK_PATIENCE = 0.8  # for the first frame of a stream that is opened only to go dark
_END = 3.0  # [s] for all darkening once the program is to end: it has 4 for everything
_SLICE = 0.1
_AT_ONCE = 0.3  # part of a period
_CATCH_UP = 64  # frames
_OLDEST_NS = 20_000_000_000
_FREEZE_PERIODS = 5
_FREEZE = 1.0

_WORD = np.dtype('<u2')
_OUT_OF_TIME = 'the program is to end, and LED dark was not seen executed in time'

FindTransport = Callable[[str], Transport]
"""Makes the transport; given the USB port of a box that was lost, to that same box, else ''."""


def extract_grey(yuyv: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """
    Write the sensor's own values to out (height, width): the even bytes of YUYV (1-D).

    As the low bytes of 16-bit words NumPy takes them in 13 us where OpenCV's extractChannel
    takes 71 (608x608, warm).
    """
    out[...] = yuyv.view(_WORD).reshape(out.shape)


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
        kind: str = 'v4l2',
        pauses: bool = True,
    ) -> None:
        """
        Open nothing yet; values are the controls' by name.

        pauses False leaves out those of the protocol that give hardware time to settle (1.8 s
        in all); the frame ends that it waits for are awaited all the same.
        """
        self.device_type = device_type
        self.controls = device_type.controls
        self.may_be_lit = False
        self.on_control: Callable[[ControlEvent], None] = lambda event: None
        self.on_discarded: Callable[[RawFrame], None] = lambda sample: None
        self._find = find
        self._stop = stop
        self._heed_stop = True
        self._end = math.inf  # when the program, being asked to end, can wait no longer [s]
        self._kind = kind
        self._values = dict(values)
        self._max_led = max_led
        self._pauses = pauses
        self._pending: list[tuple[str, float]] = []
        self._lock = Lock()
        self._transport: Transport | None = None
        self._firmware: Firmware | None = None
        self._port = ''
        self._lit = False
        self._sent: deque[int] = deque()  # when [ns], of packets not known to be executed
        self._last_frame = 0.0  # when it arrived [s]
        self._began_ns = 0  # when its read-out began
        self._rate = math.nan  # as sent in this stream
        self._rate_ns = 0  # when that was
        self._rate_frames = 0  # whole frames that began since
        self._grey = np.empty((device_type.height, device_type.width), np.uint8)

    # Opening and closing

    def open(self, reason: Reason) -> SourceInfo:
        """Open the box and set the scope up in the dark; see Source."""
        transport = self._open_stream()
        try:
            self._wake()
            self._darken(reason, more=0)  # frames go on
            self._apply_controls_twice(reason)
        except BaseException:
            self.close()
            raise
        assert self._firmware is not None
        return SourceInfo(
            width=self.device_type.width, height=self.device_type.height, encoding='mono8',
            device_type=self.device_type.name, has_orientation=self.device_type.orientation,
            frame_rate=self._values['frame_rate'], firmware=self._firmware.name,
            card=transport.card, location=transport.location, path=transport.path,
            transport=self._kind, warnings=self._firmware.warnings)

    def make_dark(self, patience: float = _DARK_PATIENCE) -> None:
        """Open the box only to make the light dark; see Source. patience [s] as in _wake."""
        if self._out_of_time():
            raise Interrupted(_OUT_OF_TIME)
        with self._uninterruptible():
            try:
                self._open_stream()
                self._wake(patience)
                self._darken(Reason.STOP)
            finally:
                self.close()

    def close(self) -> None:
        """Make it dark if it may be lit, stop the stream and close; see Source."""
        transport = self._transport
        if transport is None:
            return
        try:
            if self.may_be_lit:
                self._darken(Reason.STOP)
        except MiniscopeError as error:
            _log.debug('not made dark while closing: %s', error)
        except Exception as error:  # whoever closes opens again to make it dark
            _log.error('not made dark while closing: %s', error, exc_info=error)
        finally:
            self._transport = self._firmware = None
            self._lit = False
            transport.close()

    def _open_stream(self) -> Transport:
        transport = self._find(self._port)
        try:
            transport.open(self.device_type.width, self.device_type.height)
            self._firmware = recognise(transport, self.device_type.orientation)
            transport.start(self._ring())
        except BaseException:
            self._firmware = None
            transport.close()
            raise
        self._transport = transport
        self._port = transport.location
        self._sent.clear()
        self._rate = math.nan
        self._last_frame = time.monotonic()
        return transport

    def _ring(self) -> int:
        rates = self.device_type.controls['frame_rate'].choices or {}
        return min(max(math.ceil(_RING_SECONDS * max(rates)), _RING[0]), _RING[1])

    def _wake(self, patience: float = _FIRST_FRAME) -> None:
        """
        Bring up the link and send the init list.

        patience [s] is how long the first frame is waited for, and once more after the SERDES
        packets, which the link may need to come up.
        """
        # Nothing is sent before a frame has ended: packets run at frame ends only, and a dead
        # client's packets may still wait in the box's queue.
        linked = self._wait_for_first_frame(patience)
        for _ in range(2):
            sent_ns = self._send(serdes(self.device_type.pixel_clock))
            if not linked and not self._wait_for_first_frame(patience):
                raise NoLink(
                    f'{self._port or "the DAQ box"} sends no frames: no link to the scope; check '
                    'the coaxial cable between DAQ box and scope, and the scope itself')
            linked = self.may_be_lit = True  # a program that died may have left it lit
            self._wait_for_frame_ends(2, sent_ns, _SERDES_PAUSE)
        self._send(self.device_type.init)

    def _apply_controls_twice(self, reason: Reason) -> None:
        """Send the controls, and once more a second later: scopes forget settings."""
        self._wait_for_frame_ends(_ENDS, self._send_controls(reason), _SETTLE)
        self._wait_for_frame_ends(1, self._send_controls(reason, rate=False))  # it was executed

    # Acquisition

    def activate(self, reason: Reason) -> None:
        """Light up and throw away what is not wholly lit; see Source."""
        self._lit = self.may_be_lit = True
        self._wait_for_frame_ends(_ENDS, self._send_controls(reason))
        self._wait_for_frame_ends(NEW_RATE_FRAMES - self._rate_frames, 0)

    def deactivate(self) -> None:
        """Make the light dark and see it executed; see Source."""
        self._darken(Reason.STOP)

    def set_sync(self, on: bool) -> None:
        """Switch the sync output on or off, right after a frame; see Source."""
        with self._uninterruptible():
            self._catch_up()
        self._firmware_or_lost().set_sync(on)
        late = time.monotonic() - self._last_frame
        if late > 0.5 / self._values['frame_rate']:
            _log.warning(
                'the sync output was switched %.0f ms after a frame, which is over half a '
                'period: it may have one edge more or less than there are frames', late * 1e3)

    def reinitialise_head_stage(self) -> None:
        """Send the init list and the controls again; see Source."""
        self._send_pending()
        self._send(self.device_type.init)
        self._send_controls(Reason.RESUME)

    def read(self, timeout: float) -> RawFrame | None:
        """Return the next frame; see Source."""
        self._send_pending()
        sample = self._dequeue(timeout)
        if sample is None:
            self._check_freeze()
        return sample

    def waiting(self) -> bool:
        """Return whether another frame is ready; see Source."""
        return self._transport is not None and self._transport.waiting()

    def ros_time_ns(self, sample: RawFrame, at: Callable[[int], int]) -> int:
        """Return the ROS time of the stamp; see Source."""
        return at(sample.stamp_ns)

    def set_value(self, name: str, value: float) -> None:
        """Note a control's new value; see Source."""
        with self._lock:
            self._values[name] = value
            # The newest value wins, but a command to go dark is never merged away.
            self._pending = [
                (other, old) for other, old in self._pending
                if other != name or (name in LIGHTS and old == self.controls[name].darkest)]
            self._pending.append((name, value))

    def hard_reset(self) -> None:
        """Restart the box: by packet while frames flow, else by a reset of its USB port."""
        if self._transport is not None and self._frames_flow():
            try:
                with self._uninterruptible():
                    self._wait_for_frame_ends(_ENDS, self._send([HARD_RESET]))
            except DeviceLost:
                if self._frames_flow():
                    return  # not frozen but gone, as it was told
        (self._transport or self._find(self._port)).reset_port()

    # Commands

    def _send_pending(self) -> None:
        with self._lock:
            if not self._pending:
                return
            pending, self._pending = self._pending, []
        for name, value in pending:
            if name in LIGHTS and not self._lit:
                continue  # sent when the light goes on
            self._send_control(self.controls[name], value, Reason.USER)

    def _send_controls(self, reason: Reason, *, rate: bool = True) -> int:
        """
        Send all controls with the user's values, the lights last, and dark unless lit.

        Returns when that was done [ns].
        """
        with self._lock:
            values = dict(self._values)
            self._pending.clear()
        for name in sorted(self.controls, key=LIGHTS.__contains__):
            if name in LIGHTS and not self._lit:
                values[name] = self.controls[name].darkest
            if rate or name != 'frame_rate':
                self._send_control(self.controls[name], values[name], reason)
        return time.monotonic_ns()

    def _send_control(self, control: Control, value: float, reason: Reason) -> None:
        if control.name in LIGHTS and value > self._max_led:
            raise ConfigurationError(
                f'{control.name} {value:g} is above max_led {self._max_led:g}; not sent')
        sent_ns = self._send(control.packets(value))
        if control.name == 'frame_rate' and value != self._rate:
            self._rate, self._rate_ns, self._rate_frames = value, sent_ns, 0
        self.on_control(ControlEvent(
            control.name, value, control.raw(value)[0], reason, sent_ns))

    def _send(self, packets: Iterable[bytes], *, at_once: bool = False) -> int:
        """
        Queue packets in the box, never more than it can hold; return when that was done.

        at_once does not wait for room: half of the queue is kept free for going dark.
        """
        firmware = self._firmware_or_lost()
        for packet in packets:
            with self._uninterruptible():
                while len(self._sent) >= _QUEUE and not at_once:
                    self._discard()
            firmware.send(packet)
            self._sent.append(time.monotonic_ns())
        return time.monotonic_ns()

    def _darken(self, reason: Reason, more: int = _DARK_ENDS) -> None:
        """
        Send LED dark at three successive frame ends and see more of them: it was executed.

        The scope's controller may swallow a packet after a truncated one. This is what is done
        on stop, so it does not heed the stop event, but for this: a program that is to end does
        not wait longer for slow frames than it may, sends the rest at once and is content with
        one execution. A box that sends no frames any more gets the packets all the same: they
        run when it does again.
        """
        executed = 0
        with self._uninterruptible():
            for repeat in range(_DARK_REPEATS):
                if self._frames_flow():
                    with suppress(Interrupted, DeviceLost):
                        self._catch_up()
                for light in self.device_type.lights:
                    sent_ns = self._send(light.packets(light.darkest), at_once=True)
                    if repeat == 0:
                        self.on_control(ControlEvent(
                            light.name, light.darkest, light.raw(light.darkest)[0], reason,
                            sent_ns))
                since_ns = time.monotonic_ns()
                with suppress(Interrupted):
                    self._wait_for_frame_ends(1, since_ns)
                    executed += 1
            with suppress(Interrupted):
                self._wait_for_frame_ends(more, since_ns)
        if not executed:
            raise Interrupted(_OUT_OF_TIME)
        if executed < _DARK_REPEATS:
            _log.warning(
                'frames came so slowly that LED dark was seen executed %d times, not %d',
                executed, _DARK_REPEATS)
        self._lit = self.may_be_lit = False

    # Waiting

    @contextmanager
    def _uninterruptible(self) -> Iterator[None]:
        """Finish what is in this block although the program is to end."""
        heed_stop, self._heed_stop = self._heed_stop, False
        try:
            yield
        finally:
            self._heed_stop = heed_stop

    def _out_of_time(self) -> bool:
        """Return whether the program was asked to end and cannot wait for frames any more."""
        if self._stop.is_set():
            self._end = min(self._end, time.monotonic() + _END)
        return time.monotonic() > self._end

    def _wait_for_first_frame(self, patience: float) -> bool:
        """Throw away the next frame; return False if none comes within patience [s]."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if self._discard(freeze=False) is not None:
                return True
        return False

    def _wait_for_frame_ends(self, ends: int, since_ns: int, pause: float = 0.0) -> None:
        """
        Throw frames away until so many have ended since a time [ns], and for a pause [s] at least.

        A frame that waits in the ring, or was being read out at that time, may have ended before
        and proves nothing: those count whose read-out began later. A damaged one proves nothing
        either.
        """
        last_whole = time.monotonic()
        until = last_whole + pause * self._pauses
        while ends > 0 or time.monotonic() < until:
            sample = self._discard()
            if sample is not None and not sample.damaged:
                last_whole = time.monotonic()
                ends -= self._began_ns >= since_ns
            elif time.monotonic() - last_whole > self._freeze_limit():
                raise DeviceLost(
                    f'no whole frame for {time.monotonic() - last_whole:.1f} s, only damaged '
                    'ones: check device_type and the cables')

    def _catch_up(self) -> None:
        """Throw frames away until one has only just arrived: most of a period is left then."""
        for _ in range(_CATCH_UP):
            late = time.monotonic() - self._last_frame
            if late < _AT_ONCE / self._values['frame_rate'] and not self.waiting():
                return
            self._discard()

    def _discard(self, *, freeze: bool = True) -> RawFrame | None:
        """Take a frame; None if none came in a while, DeviceLost if that lasts (freeze)."""
        if self._heed_stop and self._stop.is_set():
            raise Interrupted('stopped while the scope was being set up')
        if self._out_of_time():
            raise Interrupted(_OUT_OF_TIME)
        sample = self._dequeue(_SLICE)
        if sample is not None:
            self.on_discarded(sample)
        elif freeze:
            self._check_freeze()
        return sample

    def _freeze_limit(self) -> float:
        return max(_FREEZE, _FREEZE_PERIODS / self._values['frame_rate'])

    def _frames_flow(self) -> bool:
        return time.monotonic() - self._last_frame < self._freeze_limit()

    def _check_freeze(self) -> None:
        if not self._frames_flow():
            raise DeviceLost(
                f'no frame for {time.monotonic() - self._last_frame:.1f} s: the DAQ box or the '
                'scope is frozen or unplugged')

    # Frames

    def _firmware_or_lost(self) -> Firmware:
        if self._firmware is None:
            raise DeviceLost('the DAQ box is not connected')
        return self._firmware

    def _dequeue(self, timeout: float) -> RawFrame | None:
        firmware, transport = self._firmware_or_lost(), self._transport
        assert transport is not None
        buffer = transport.dequeue(timeout)
        if buffer is None:
            return None
        receive_ns = time.monotonic_ns()
        self._last_frame = receive_ns * 1e-9
        self._note_began(buffer.stamp_ns or 0, receive_ns)
        self._rate_frames += not buffer.damaged and self._began_ns >= self._rate_ns
        try:
            return self._sample(buffer, firmware, receive_ns)
        finally:
            transport.requeue(buffer)

    def _note_began(self, stamp_ns: int, receive_ns: int) -> None:
        """Note when a frame's read-out began; what was sent before that is executed by now."""
        if not max(self._began_ns, receive_ns - _OLDEST_NS) < stamp_ns <= receive_ns:
            stamp_ns = receive_ns - round(1e9 / self._values['frame_rate'])
        self._began_ns = max(self._began_ns, stamp_ns)
        while self._sent and self._sent[0] <= self._began_ns:
            self._sent.popleft()

    def _sample(self, buffer: Buffer, firmware: Firmware, receive_ns: int) -> RawFrame:
        sample = RawFrame(
            image=self._grey, stamp_ns=buffer.stamp_ns or 0,
            stamp_source=(
                StampSource.ARRIVAL if buffer.stamp_ns is None else StampSource.BUFFER),
            receive_ns=receive_ns, sequence=buffer.sequence, damaged=buffer.damaged)
        if buffer.damaged:
            return sample
        telemetry = firmware.telemetry(buffer.data)
        if not firmware.embeds_telemetry:
            sample.read_ns = time.monotonic_ns()
            if self.waiting():
                telemetry = Telemetry()  # read too late: it belongs to a later frame
        extract_grey(buffer.data, self._grey)
        sample.quaternion = telemetry.quaternion
        sample.device_count = telemetry.device_count
        sample.device_count_bits = telemetry.device_count_bits
        sample.device_time_ms = (
            buffer.device_time_ms if math.isnan(telemetry.device_time_ms)
            else telemetry.device_time_ms)
        sample.digital_inputs = telemetry.digital_inputs
        return sample
