# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""One virtual box as a test sees it: what it did, what it is, and the faults it is to have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import ctypes
from dataclasses import dataclass
from enum import IntEnum, IntFlag
import fcntl
import mmap
import os
from pathlib import Path
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import camera, scope
from .build import layouts, library
from .descriptors import device_descriptors

# Bit masks by control index of controls.c: which ones the kernel reads anew each time.
FRESH_CONTROLS = {
    'fixed_firmware': 0x3FF,  # everything
    'old_kernel': 0x308,  # PAN, TILT, HUE: before 6.10.3
    'new_kernel': 0,  # everything comes from the cache
}
# A kernel that does so with UCLA firmware; with fixed firmware any does.
RELEASES = {'fixed_firmware': '5.10.218', 'old_kernel': '5.10.218', 'new_kernel': '6.12.95'}
IMAGES = ('ramp', 'lit', 'bank', 'stripes')
LINKS = ('good', 'needs_serdes', 'none')


class Fault(IntFlag):
    """What can befall a frame (box.h)."""

    NONE = 0
    LOST = 1 << 0  # on the way: sequence, counter, sync go on
    UNFINISHED = 1 << 1  # by the box: only time goes on
    ERROR_FLAG = 1 << 2
    SHORT = 1 << 3
    EMPTY = 1 << 4
    STAMP_ZERO = 1 << 5
    STAMP_BACK = 1 << 6
    STAMP_FAR = 1 << 7
    QUAT_BAD = 1 << 8
    QUAT_ZERO = 1 << 9
    QUAT_TORN = 1 << 10
    QUAT_FROZEN = 1 << 11
    FREEZE = 1 << 12  # from this frame on none, until a reset or a replug
    UNPLUG = 1 << 13
    STAMP_NONE = 1 << 14  # the driver tells no clock
    TRANSFER = 1 << 15  # a USB transfer fails: over V4L2 the whole ring comes back at once


class Status(IntEnum):
    """What became of a frame."""

    DELIVERED = 0
    LOST = 1
    UNFINISHED = 2
    NO_BUFFER = 3  # the client had none queued when the frame began


class Protocol(IntEnum):
    """Errors of a client that the firmware would not report."""

    ORDER = 1  # GAMMA or SHARPNESS without the word before
    HALF = 2  # CONTRAST threw a half-received packet away
    EMPTY = 3  # the words 0, 0, 0
    LENGTH = 4
    OVERFLOW = 5  # more than 64 packets waiting
    COUNT = 6  # more than 4 packets in one write to the extension unit


@dataclass
class BoxConfig:
    """
    What is plugged in, and where.

    Times in seconds. image is 'ramp' (all grey levels), 'lit' (grey value by light and gain),
    'stripes' (the same in the mean, with structure by the focus) or an array of frames, cycled:
    (n, height, width) grey or (n, height, 2 * width) YUYV, uint8.
    """

    device_type: str = 'Miniscope_V4_BNO'
    name: str = ''  # default: box0, box1, ..
    port: str = ''  # USB port; default 1-1, 1-2, ..
    number: int = -1  # of /dev/videoN; default 0, 2, ..
    catalog: Path = scope.CATALOG
    plugged: bool = True
    open_ephys: bool = False
    unit_version: tuple[int, int, int] = (1, 1, 0)
    interface_version: int = 2
    kernel: str = 'old_kernel'  # fixed_firmware, old_kernel, new_kernel
    control_maximum: int = 65535
    image: str | NDArray[np.uint8] = 'ramp'
    readout: float = 0.022
    start_delay: float = 0.05
    reading_delay: float = 0.0  # 0: the orientation is read before the buffer is handed over
    reset_time: float = 0.5
    reset_number: int = -1  # -1: the same
    control_time: float = 0.0
    reading_time: float = 0.0  # of a control that is read, in addition
    pan_tilt: bool = True  # False: firmware before July 2023
    rate_factor: float = 1.0  # true rate / label
    rate: float = 0.0  # frames/s whatever the register says; 0: by the register
    jitter: float = 0.0  # standard deviation of the stamps
    seed: int = 1
    link: str = 'good'  # good, needs_serdes, none
    orientation: bool | None = None  # default: as the type has it
    light: float = 0.0  # at power on, 0..1
    product_id: str = '00f9'  # 00f8: at a USB 2 port; 00f3: in the boot loader
    speed: str = '5000'  # [Mbit/s]
    camera: camera.UvcCamera | None = None  # no box at all, but a plain UVC camera


class Box:
    """A box on the folder of a VirtualDaq. Everything can be read and set while it runs."""

    def __init__(self, root: Path, config: BoxConfig) -> None:
        self.root = root
        self.config = config
        self.scope = scope.describe(config.device_type, config.catalog)
        self.folder = root / 'boxes' / config.name
        self.folder.mkdir(parents=True)
        layout = layouts()['state']
        with (self.folder / 'state').open('x+b') as file:
            file.truncate(layout.itemsize)
            self._memory = mmap.mmap(file.fileno(), layout.itemsize)
        self.state: Any = np.frombuffer(self._memory, layout)[0]
        self._call('virtual_daq_init')
        self._describe()
        if config.plugged:
            self.plug()
        else:
            self._call('virtual_daq_unplug', ctypes.c_int64(0), config.number)

    def _call(self, function: str, *arguments: Any) -> None:
        names = str(self.root).encode(), self.config.name.encode()
        if getattr(library(), function)(*names, *arguments):
            raise OSError(f'{function} failed for {self.folder}')

    def _describe(self) -> None:
        config, state, type_ = self.config, self.state, self.scope
        product = 'UCLA/Open Ephys Miniscope DAQ v3' if config.open_ephys else 'MINISCOPE'
        card = product if config.open_ephys else f'{product}: {product}'
        descriptors = device_descriptors(config.open_ephys, config.product_id)
        controls = type_['controls']
        state['port'] = config.port.encode()
        state['card'] = card[:31].encode()
        state['product'] = product.encode()
        state['descriptors'][:len(descriptors)] = list(descriptors)
        state['descriptors_size'] = len(descriptors)
        state['vendor_id'] = b'04b4'
        state['product_id'] = config.product_id.encode()
        state['speed'] = config.speed.encode()
        state['sensor_width'], state['sensor_height'] = type_['size']
        state['extension_unit'] = 3 if config.open_ephys else 0
        state['unit_version'][:3] = config.unit_version
        state['interface_version'] = config.interface_version
        state['fresh_controls'] = FRESH_CONTROLS[config.kernel]
        state['control_maximum'] = config.control_maximum
        state['readout_ns'] = round(config.readout * 1e9)
        state['start_ns'] = round(config.start_delay * 1e9)
        state['reading_ns'] = round(config.reading_delay * 1e9)
        state['reset_ns'] = round(config.reset_time * 1e9)
        state['reset_number'] = config.reset_number
        state['control_ns'] = round(config.control_time * 1e9)
        state['read_ns'] = round(config.reading_time * 1e9)
        state['missing_controls'] = 0 if config.pan_tilt else 0x300
        state['rate_factor'] = config.rate_factor
        state['rate_override'] = config.rate
        state['start_rate'] = controls['frame_rate']['start']
        state['jitter_ns'] = round(config.jitter * 1e9)
        state['random'] = config.seed
        state['link'] = LINKS.index(config.link)
        orientation = type_['orientation'] if config.orientation is None else config.orientation
        state['has_orientation'] = orientation
        state['needs_init'] = True
        self._describe_image()
        self._describe_controls(controls)
        if config.camera is not None:
            camera.describe(state, self.folder, config.camera)

    def _describe_image(self) -> None:
        image = self.config.image
        if isinstance(image, str):
            self.state['image_mode'] = IMAGES.index(image)
            return
        width, height = self.scope['size']
        if image.shape[2] == width:
            grey, image = image, np.full((len(image), height, 2 * width), 128, np.uint8)
            image[:, :, ::2] = grey
        image.tofile(self.folder / 'bank')
        self.state['bank_frames'] = len(image)
        self.state['image_mode'] = IMAGES.index('bank')

    def _describe_controls(self, controls: Mapping[str, scope.Description]) -> None:
        state = self.state
        for led, name in enumerate(('led', 'led2')):
            if name in controls:
                state['light_dark'][led] = scope.raw_value(controls[name], controls[name]['min'])
                state['light_full'][led] = scope.raw_value(controls[name], controls[name]['max'])
        for i, template in enumerate(scope.templates(self.scope)):
            length = len(template.kinds)
            state['template_control'][i] = template.control
            state['template_length'][i] = length
            state['template_kind'][6 * i:6 * i + length] = template.kinds
            state['template_byte'][6 * i:6 * i + length] = template.values
            if template.control < 2:
                dark = state['light_dark'][template.control]
                span = state['light_full'][template.control] - dark
                state['template_power_on'][i] = round(dark + self.config.light * span)
            state['templates'] = i + 1
        state['gain_raw'][0], state['gain_value'][0] = -1, 1  # where gain is no choice
        for kind, name in (('rate', 'frame_rate'), ('gain', 'gain')):
            for i, (raw, second, value) in enumerate(scope.choices(controls.get(name, {}))):
                state[f'{kind}_raw'][i] = raw
                state[f'{kind}_value'][i] = value
                if kind == 'rate':
                    state['rate_second'][i] = second

    # ---- what it did

    def _log(self, kind: str) -> NDArray[np.void]:
        path = self.folder / kind
        layout = layouts()[kind]
        data = path.read_bytes() if path.exists() else b''
        return np.frombuffer(data[:len(data) // layout.itemsize * layout.itemsize], layout)

    @property
    def writes(self) -> NDArray[np.void]:
        """Return every write of a control: ns, value, control, pid, error, queued."""
        return self._log('writes')

    @property
    def packets(self) -> NDArray[np.void]:
        """Return every executed packet: ns, queued_ns, frame, stream, length, bytes."""
        return self._log('packets')

    @property
    def executed(self) -> list[bytes]:
        """Return the executed packets as bytes, address first, in order."""
        return [bytes(p['bytes'][:p['length']]) for p in self.packets]

    @property
    def frames(self) -> NDArray[np.void]:
        """Return every frame slot that has ended (box.h FRAME_RECORD)."""
        return self._log('frames')

    @property
    def protocol_faults(self) -> list[Protocol]:
        """Return the errors of the client, in order."""
        return [Protocol(record['kind']) for record in self._log('faults')]

    @property
    def registers(self) -> dict[tuple[int, int], bytes]:
        """Return what the executed packets left: (address, register) -> data."""
        return {(p[0], p[1]): p[2:] for p in self.executed}

    # ---- what it is

    @property
    def led(self) -> float:
        """Return the light now, 0..1: it outlives the client."""
        return float(self.state['light'][0])

    @property
    def led2(self) -> float:
        """Return the second light now, 0..1."""
        return float(self.state['light'][1])

    def raw(self, control: str) -> int:
        """Return a control's register; -1: not written since power on."""
        return int(self.state['raw'][scope.CONTROLS.index(control)])

    @property
    def frame(self) -> int:
        """Return the number of the next frame slot; it never goes back."""
        return int(self.state['frame'])

    @property
    def inputs_changed(self) -> int:
        """Return the number of the frame with which the inputs were set last by trigger(at=)."""
        return int(self.state['inputs_changed'])

    @property
    def sync_toggles(self) -> int:
        """Return the edges on the sync output since the box was made."""
        return int(self.state['sync_toggles'])

    @property
    def present(self) -> bool:
        """Return whether it is plugged in."""
        library().virtual_daq_settle(str(self.root).encode())
        return bool(self.state['present'])

    @property
    def streaming(self) -> bool:
        """Return whether a living client streams."""
        return bool(self.state['streaming']) and self.busy

    @property
    def busy(self) -> bool:
        """Return whether a living client holds the stream, so that others get EBUSY."""
        path = self.folder / f'lock.{self.state["generation"]}'
        if not path.exists():
            return False
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @property
    def cpu_time(self) -> float:
        """Return the CPU time of the box's own threads so far [s]; the client's process has it."""
        return int(self.state['cpu_ns']) * 1e-9

    @property
    def path(self) -> str:
        """Return the capture node."""
        return f'/dev/video{self.state["number"]}'

    @property
    def by_path(self) -> str:
        """Return the capture node by its USB port."""
        port = self.config.port.partition('-')[2]
        return f'/dev/v4l/by-path/pci-0000:00:99.0-usb-0:{port}:1.0-video-index0'

    def expected_grey(self, record: np.void) -> NDArray[np.uint8]:
        """Return the (height, width) grey image that a frame record's frame showed."""
        width, height = self.scope['size']
        if not isinstance(self.config.image, str):
            bank = self.config.image
            image: NDArray[np.uint8] = bank[int(record['frame']) % len(bank)]
            return image if image.shape[1] == width else image[:, ::2]
        if self.config.image == 'lit':
            grey = np.full(width * height, record['level'], np.uint8)
        else:
            grey = np.arange(width * height).astype(np.uint8)
        grey[:8] = list(int(record['frame']).to_bytes(8, 'little'))
        return grey.reshape(height, width)

    def wait(self, condition: Callable[[], Any], timeout: float = 10.0) -> None:
        """Wait until condition() is true; TimeoutError."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f'{self.config.name}: not within {timeout} s')
            time.sleep(0.002)

    def wait_frames(self, count: int, timeout: float = 10.0) -> None:
        """Wait until so many more frame slots have ended."""
        target = self.frame + count
        self.wait(lambda: self.frame >= target, timeout)

    # ---- what is to befall it

    def plug(self, number: int | None = None) -> None:
        """Plug it in (again): power on, dark, registers forgotten."""
        chosen = self.config.number if number is None else number
        self._call('virtual_daq_plug', chosen)

    def unplug(self, seconds: float = 0.0, number: int | None = None) -> None:
        """Unplug it; with seconds it comes back by itself after them, under that number."""
        away = ctypes.c_int64(round(seconds * 1e9))
        self._call('virtual_daq_unplug', away, -1 if number is None else number)

    def reset(self) -> None:
        """Restart the box as [FE 01] does: away for reset_time, the scope keeps its power."""
        self._call('virtual_daq_reset')

    def plan(self, faults: Mapping[int, Fault] | Iterable[tuple[int, Fault]]) -> None:
        """Set what befalls the frames with these numbers (see frame)."""
        plan = self.state['plan']
        for frame, fault in faults.items() if isinstance(faults, Mapping) else faults:
            plan[frame % len(plan)] = fault

    def next_frame(self, fault: Fault) -> None:
        """Let this befall the next frame to end."""
        self.state['once'] = fault

    def always(self, fault: Fault) -> None:
        """Let this befall every frame from now on; Fault.NONE ends it."""
        self.state['sticky'] = fault

    def freeze(self) -> None:
        """Send no frames any more, until a reset or a replug."""
        self.state['frozen'] = 1

    def rest(self, resting: bool = True) -> None:
        """Let the animal rest: orientation readings repeat."""
        self.state['resting'] = resting

    def brown_out(self) -> None:
        """Let the orientation sensor read zero until its init packets are sent again."""
        self.state['awake'] = 0

    def restart_head_stage(self, down: float = 0.3) -> None:
        """
        Let the head stage lose its power for a moment, as at a worn cable.

        Registers, light, lens, rate and sensor are as at power on. The link is down for that
        time [s]: no frame that began before its end is finished, and no packet runs.
        """
        self._call('virtual_daq_restart_head_stage', ctypes.c_int64(round(down * 1e9)))

    def cover(self, covered: bool = True) -> None:
        """Let something lie on the lens: a picture of image 'lit' is dark whatever the light."""
        self.state['covered'] = covered

    def trigger(self, levels: int, at: int = 0) -> None:
        """
        Set the digital inputs, from frame at on or now; bit 0 is the trigger.

        Where frame at is already over they change with the next one: see inputs_changed.
        """
        if at:
            self.state['inputs_next'] = levels
            self.state['inputs_at'] = at
        else:
            self.state['inputs'] = levels

    def loop_sync(self, looped: bool = True) -> None:
        """Connect the sync output to the trigger input."""
        self.state['looped'] = looped

    def bad_at_start(self, frames: int) -> None:
        """Deliver so many short frames at each stream start."""
        self.state['bad_at_start'] = frames

    def refuse(self, call: str, error: int) -> None:
        """
        Fail a call with an errno; 0 ends it.

        open, format (S_FMT), stream (STREAMON), read (of controls), reset (open the USB node).
        """
        self.state[f'{call}_errno'] = error

    def refuse_writes(self, error: int, count: int = -1) -> None:
        """Fail writes of controls, so many of them or (-1) all; error 0 ends it."""
        self.state['control_errors'] = count
        self.state['control_errno'] = error

    def leave_packets(self, packets: Iterable[bytes]) -> None:
        """Put packets into the queue, as a client that died would have left them."""
        for packet in packets:
            self._call('virtual_daq_enqueue', encode(packet))

    def set_rate(self, rate: float) -> None:
        """Set frames/s whatever the register says; 0: by the register."""
        self.state['rate_override'] = rate


def encode(packet: bytes) -> bytes:
    """Return a packet's six bytes as they stand in the control words."""
    if len(packet) == 6:
        return bytes([packet[0] | 1]) + packet[1:]
    return (bytes([packet[0], len(packet)]) + packet[1:]).ljust(6, b'\0')


def client_environ(root: Path, library_file: Path) -> dict[str, str]:
    """Return the environment of a process that finds the boxes of this root."""
    before = [p for p in os.environ.get('LD_PRELOAD', '').split(':') if p]
    if str(library_file) not in before:
        before.append(str(library_file))
    libraries = [p for p in os.environ.get('LD_LIBRARY_PATH', '').split(':') if p]
    if str(library_file.parent) not in libraries:
        libraries.insert(0, str(library_file.parent))
    return {
        **os.environ, 'LD_PRELOAD': ':'.join(before), 'VIRTUAL_DAQ_ROOT': str(root),
        'LD_LIBRARY_PATH': ':'.join(libraries),
        # What is noted of boxes is of these, not of others with the same USB port.
        'XDG_RUNTIME_DIR': str(root)}
