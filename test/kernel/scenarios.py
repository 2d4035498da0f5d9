# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What is to hold on a real kernel, for each transport.

A scenario gets the transport's name, raises AssertionError where something does not hold, and
returns what was seen, in one line.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
import grp
import os
from pathlib import Path
import signal
import stat
import subprocess
import sys
from threading import Event
import time

from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.model import Reason, SourceInfo, StampSource
from miniscope_ros.sources.miniscope import MiniscopeSource
from miniscope_ros.sources.registry import make_daq
from miniscope_ros.transports import discovery, usb
from miniscope_ros.transports import v4l2_controls as controls
from miniscope_ros.transports.transport import Transport
from miniscope_ros.transports.usb_uvc import UsbTransport
from miniscope_ros.transports.v4l2 import V4l2Transport
import numpy as np
from virtual_daq import Fault, pacing_violations

from .computer import check, command, Computer, PORT, run

SIZE = (608, 608)
WORDS = (controls.PAN_ABSOLUTE, controls.TILT_ABSOLUTE)
V4 = load_catalogue()['Miniscope_V4_BNO']
SCENARIOS: dict[str, Callable[[str], str]] = {}


def scenario(function: Callable[[str], str]) -> Callable[[str], str]:
    """Add a scenario to the list."""
    SCENARIOS[function.__name__] = function
    return function


def make_source(transport: str, device: str = '') -> MiniscopeSource:
    """Return the driver's source of the box."""
    values = {name: control.start for name, control in V4.controls.items()} | {'led': 50.0}
    return make_daq(device, V4, Event(), values, transport=transport)


@contextmanager
def active(transport: str) -> Iterator[tuple[MiniscopeSource, SourceInfo]]:
    """Open and light a source; closed in the dark at the end."""
    source = make_source(transport)
    info = source.open(Reason.START)
    try:
        source.activate(Reason.START)
        yield source, info
    finally:
        source.close()


def transport_to_box(kind: str) -> Transport:
    """Return a transport of that kind to the box."""
    found = discovery.find_box('')
    check(found.video is not None, 'no video node')
    assert found.video is not None
    if kind == 'usb':
        return UsbTransport(found.usb_port, found.video.path)
    return V4l2Transport(found.video.path, found.usb_port)


def frame_number(image: np.ndarray) -> int:
    """Return which frame of the box an image is."""
    return int.from_bytes(image.reshape(-1)[:8].tobytes(), 'little')


@scenario
def nodes_and_rights(_: str) -> str:
    """Both video nodes, by-path names and what the udev rule gives."""
    with Computer():
        nodes = sorted(str(path) for path in Path('/dev').glob('video*'))
        check(len(nodes) == 2, f'two nodes, not {nodes}')
        found = discovery.find_box('')
        assert found.video is not None
        check(found.usb_port == PORT and os.path.islink(found.video.by_path), f'{found}')
        check(discovery.find_box(os.path.basename(found.video.by_path)) == found, 'by-path')
        listed = run('commands.list_devices')
        check(listed.returncode == 0 and found.video.by_path in listed.stdout, listed.stderr)
        modes = []
        for path in (found.video.path, usb.node_path(PORT)):
            status = os.stat(path)
            mode = stat.S_IMODE(status.st_mode), grp.getgrgid(status.st_gid).gr_name
            check(mode == (0o660, 'video'), f'{path} has {mode}')
            tags = subprocess.run(
                ['udevadm', 'info', '-q', 'property', path], text=True, capture_output=True).stdout
            check(':uaccess:' in tags, f'{path} has no tag uaccess: {tags}')
            modes.append(f'{path} {mode[0]:o} {mode[1]} uaccess')
        return '; '.join(modes)


@scenario
def usb_2_port_is_named(_: str) -> str:
    """Name the remedy for a box at a USB 2 port, which has 640x480 only."""
    computer = Computer(product_id='00f8')
    try:
        computer.wait(discovery.usb_boxes)
        try:
            discovery.find_box('')
        except DeviceError as error:
            text = str(error)
        check('USB 2 speed' in text and 'USB 3 port' in text, text)
        listed = run('commands.list_devices')
        check(listed.returncode == 1 and 'USB 2 speed' in listed.stderr, listed.stderr)
        return text
    finally:
        computer.__exit__()


@scenario
def frames_and_stamps(kind: str) -> str:
    """Bytes, sequence numbers and stamps of two seconds, and the light."""
    with Computer() as computer, active(kind) as (source, info):
        check(info.transport == kind, info.transport)
        check(computer.box.led > 0, 'dark')
        errors, sequences = [], []
        for _ in range(60):
            frame = source.read(1.0)
            assert frame is not None
            check(not frame.damaged, 'damaged')
            number = frame_number(frame.image)
            record = computer.record(number)
            check(np.array_equal(frame.image, computer.box.expected_grey(record)), 'bytes')
            sequences.append(frame.sequence)
            errors.append((frame.stamp_ns - int(record['stamp_ns'])) / 1e6)
            wanted = StampSource.ARRIVAL if kind == 'usb' else StampSource.BUFFER
            check(frame.stamp_source is wanted, frame.stamp_source)
        check(np.array_equal(np.diff(sequences), np.ones(59)), f'{sequences}')
        spread = max(errors) - min(errors)
        check(min(errors) > -0.1 and max(errors) < 1.0, f'stamps off by {errors}')
        source.close()
        check(computer.box.led == 0, 'still lit')
        check(not computer.box.protocol_faults, f'{computer.box.protocol_faults}')
        check(not pacing_violations(computer.box.writes), 'pacing')
        return (f'60 frames, stamps {min(errors):.3f} to {max(errors):.3f} ms after the first '
                f'payload (spread {spread:.3f})')


@scenario
def opening_packets(kind: str) -> str:
    """Check that the packets of the opening arrive in order."""
    with Computer() as computer, active(kind):
        texts = [packet.hex(' ').upper() for packet in computer.box.executed]
        check(texts[:2] == ['C0 1F 10', 'B0 05 20'], f'{texts[:4]}')
        first = texts.index(V4.init[0].hex(' ').upper())
        check(
            [bytes.fromhex(text) for text in texts[first:first + len(V4.init)]] == list(V4.init),
            'init list')
        return f'{len(texts)} packets, SERDES, {len(V4.init)} of the init list, controls'


@scenario
def readings(kind: str) -> str:
    """Orientation and counter: fresh over USB, out of the cache over V4L2, which is noticed."""
    with Computer() as computer, active(kind) as (source, _):
        told, counts, own = set(), [], 0
        for _ in range(40):
            frame = source.read(1.0)
            assert frame is not None
            if frame.orientation is None:
                continue
            told.add(frame.orientation)
            counts.append(frame.device_count)
            record = computer.record(frame_number(frame.image))
            own += tuple(int(part) for part in record['quaternion']) == frame.orientation
        if kind == 'usb':
            check(own >= 38, f'only {own} of 40 readings belong to their frame')
            check(counts[-1] is not None and counts[-1] - (counts[0] or 0) >= 38, f'{counts}')
            return f'{own} of 40 readings are those of their frame, {len(told)} different'
        check(len(told) == 1, f'{len(told)} different readings where the kernel caches')
        return f'one reading over and over ({next(iter(told))}): the cache'


@scenario
def automatic_choice(_: str) -> str:
    """Auto takes USB for this kernel and this firmware, and says so."""
    with Computer(), active('auto') as (_source, info):
        check(info.transport == 'usb', info.transport)
        check(not info.warnings, f'{info.warnings}')
        return f'usb on Linux {os.uname().release}'


@scenario
def damaged_frames(kind: str) -> str:
    """See a frame with the error bit, a short one and a failed transfer cost themselves."""
    with Computer() as computer, active(kind) as (source, _):
        start = computer.box.frame + 5
        computer.box.plan({
            start: Fault.ERROR_FLAG, start + 10: Fault.SHORT, start + 20: Fault.TRANSFER})
        damaged, whole = [], []
        while computer.box.frame < start + 40:
            frame = source.read(1.0)
            if frame is None:
                continue
            if frame.damaged:
                damaged.append(frame.sequence)
            else:
                whole.append(frame_number(frame.image))
        lost = sorted(set(range(start - 2, start + 35)) - set(whole))
        check(set(lost) >= {start, start + 10, start + 20}, f'{lost}')
        if kind == 'usb':
            check(len(damaged) == 3 and len(lost) == 3, f'{damaged} {lost}')
        return f'{len(damaged)} frames marked damaged, {len(lost)} not received'


@scenario
def light_after_signals(kind: str) -> str:
    """End the node itself by SIGINT and by SIGTERM: it leaves the scope dark."""
    seen = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with Computer() as computer:
            node = subprocess.Popen(
                command('node.main', '--ros-args', '-p', 'led:=50.0', '-p', f'transport:={kind}'),
                stderr=subprocess.PIPE, text=True)
            try:
                computer.wait(lambda: computer.box.led > 0, 60)
                node.send_signal(number)
                _, text = node.communicate(timeout=20)
            finally:
                node.kill()
            check(computer.box.led == 0, f'lit after {number.name}: {text[-500:]}')
            check(usb.driver(PORT, 0) == 'uvcvideo', 'the box was not given back')
            seen.append(f'{number.name} dark, status {node.returncode}')
    return '; '.join(seen)


@scenario
def light_after_kill(kind: str) -> str:
    """After kill -9 lights_off makes it dark, and the kernel's driver has the box again."""
    with Computer() as computer:
        holder = computer.start_lit(kind)
        holder.kill()
        holder.wait()
        check(computer.box.led > 0, 'dark by itself?')
        left = usb.driver(PORT, 0)
        result = run('commands.lights_off')
        check(result.returncode == 0, result.stderr)
        check(computer.box.led == 0, 'still lit')
        computer.wait_plugged()
        check(usb.driver(PORT, 0) == 'uvcvideo', 'not given back')
        return f'interface 0 had {left or "no driver"} after the kill; {result.stdout.strip()}'


@scenario
def plain_program_afterwards(kind: str) -> str:
    """After closing, any V4L2 program can use the box (REQBUFS, driver, format)."""
    with Computer() as computer:
        with active(kind) as (source, _):
            source.read(1.0)
        computer.wait_plugged()
        with closing(transport_to_box('v4l2')) as plain:
            plain.open(*SIZE)
            plain.start(4)
            frames = 0
            for _ in range(20):
                buffer = plain.dequeue(1.0)
                if buffer is not None:
                    frames += not buffer.damaged
                    plain.requeue(buffer)
        check(frames >= 15, f'{frames} frames')
        return f'{frames} frames over plain V4L2'


@scenario
def other_program(kind: str) -> str:
    """Who streams already is not disturbed; the second program is told who has the box."""
    texts = []
    with Computer() as computer:
        holder = computer.start_lit(kind)
        try:
            for second in ('v4l2', 'usb'):
                try:
                    make_source(second).open(Reason.START)
                except DeviceError as error:
                    check('in use' in str(error) and not isinstance(error, DeviceLost), f'{error}')
                    check(f'process {holder.pid}' in str(error), f'{error}')
                    texts.append(str(error))
            check(len(texts) == 2, f'{texts}')
            before = computer.box.frame
            computer.wait(lambda: computer.box.frame > before + 10)
            check(holder.poll() is None and computer.box.led > 0, 'it was disturbed')
        finally:
            holder.kill()
            holder.wait()
    return texts[-1]


@scenario
def unplugged_and_back(kind: str) -> str:
    """Unplugging is a loss at once; at the same port it comes back, under any number."""
    with Computer() as computer:
        source = make_source(kind)
        source.open(Reason.START)
        computer.box.unplug()
        began = time.monotonic()
        try:
            while True:
                source.read(0.5)
        except DeviceLost as error:
            text = str(error)
        took = time.monotonic() - began
        check(took < 1.5, f'{took:.2f} s')
        source.close()
        computer.wait(lambda: not discovery.usb_boxes())
        computer.box.plug()
        computer.wait_plugged()
        source.open(Reason.RESUME)
        check(source.read(1.0) is not None, 'no frame')
        source.close()
        return f'lost after {took:.2f} s ({text}), and back'


@scenario
def frozen_and_reset(kind: str) -> str:
    """Lose a frozen box, and bring it back by a reset of its port."""
    with Computer() as computer:
        source = make_source(kind)
        source.open(Reason.START)
        computer.box.freeze()
        try:
            while True:
                source.read(0.5)
        except DeviceLost:
            pass
        source.hard_reset()
        source.close()
        computer.wait_plugged()
        computer.box.state['frozen'] = 0  # the virtual box does not see the kernel's port reset
        source.open(Reason.RESUME)
        check(source.read(1.0) is not None, 'no frame')
        source.close()
        return 'reset through its USB node'


@scenario
def hard_reset(kind: str) -> str:
    """Restart the box by the packet for that: it comes back as a new USB device."""
    with Computer() as computer:
        source = make_source(kind)
        source.open(Reason.START)
        before = usb.node_path(PORT)
        source.hard_reset()
        source.close()
        computer.wait(lambda: discovery.boxes() and usb.node_path(PORT) != before)
        computer.wait_plugged()
        source.open(Reason.RESUME)
        check(source.read(1.0) is not None, 'no frame')
        source.close()
        return f'{before} became {usb.node_path(PORT)}'


@scenario
def ended_without_closing(kind: str) -> str:
    """End a program without closing: the kernel's driver gets the box back."""
    script = (
        'from kernel.scenarios import *\n'
        f'transport = transport_to_box({kind!r})\n'
        'transport.open(*SIZE); transport.start(4)\n'
        'while transport.dequeue(1.0) is None: pass\n')
    with Computer() as computer:
        result = subprocess.run([sys.executable, '-c', script], text=True, capture_output=True)
        check(result.returncode == 0, result.stderr)
        computer.wait(lambda: usb.driver(PORT, 0) == 'uvcvideo')
        return 'given back'
