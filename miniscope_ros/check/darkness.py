# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks that the light is really dark after each way to end, by the picture itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import json
import select
import signal
import subprocess
import sys
import time

from miniscope_ros.check.bench import Bench
from miniscope_ros.check.finding import Finding
from miniscope_ros.check.light import is_dark, levels, lit_value
from miniscope_ros.errors import DeviceError

_START_S = 30.0
_END_S = 10.0
_LIGHTS_OFF_S = 60.0
_LIGHTS_OFF = 'from miniscope_ros.commands.lights_off import main; main()'


def after_stop(bench: Bench) -> Finding:
    """Light the scope, close it, and look."""
    levels(bench)
    for light in bench.device_type.lights:
        bench.step(light.name, lit_value(light))
    lit = bench.brightness()
    bench.close()
    return is_dark(bench, bench.glimpse(), f'after {lit:.1f} while lit')


def after_sigterm(bench: Bench) -> Finding:
    """End a program that has the light on by SIGTERM, and look."""
    levels(bench)
    with _lit_child(bench) as child:
        child.send_signal(signal.SIGTERM)
        status = child.wait(_END_S)
    return is_dark(bench, bench.glimpse(), f'after its exit status {status}')


def after_kill(bench: Bench) -> Finding:
    """Kill a program that has the light on, run lights_off, and look."""
    levels(bench)
    with _lit_child(bench) as child:
        child.kill()
        child.wait(_END_S)
    bench.find()  # which gives a box back to the kernel's driver
    left = bench.glimpse()
    bench.find()
    done = subprocess.run(
        [sys.executable, '-c', _LIGHTS_OFF, '--usb-port', bench.port, *_type(bench)],
        text=True, capture_output=True, timeout=_LIGHTS_OFF_S, stdin=subprocess.DEVNULL)
    return is_dark(
        bench, bench.glimpse(),
        f'after lights_off (exit status {done.returncode}), {left:.1f} before')


def _type(bench: Bench) -> list[str]:
    catalogue = bench.settings.device_catalog
    return ['--device-type', bench.device_type.name,
            *(['--device-catalog', catalogue] if catalogue else [])]


@contextmanager
def _lit_child(bench: Bench) -> Iterator[subprocess.Popen[str]]:
    """Give a program that has lit the scope; whatever happens, none is left and it is dark."""
    bench.close()
    lights = {light.name: lit_value(light) for light in bench.device_type.lights}
    wanted = {
        'port': bench.port, 'device_type': bench.device_type.name,
        'device_catalog': bench.settings.device_catalog,
        'transport': bench.settings.transport, 'values': bench.values() | lights}
    # A session of its own: Ctrl-C is for us, and we end it.
    child = subprocess.Popen(
        [sys.executable, '-m', 'miniscope_ros.check.lit_child', json.dumps(wanted)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _wait_until_lit(bench, child)
        yield child
    except BaseException:
        _end(child)
        bench.make_dark()
        raise
    finally:
        _end(child)


def _wait_until_lit(bench: Bench, child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        bench.check_stop()
        if select.select([child.stdout], [], [], 0.1)[0]:
            if child.stdout.readline().strip() == 'lit':
                return
            break
    raise DeviceError('a second program could not light the scope')


def _end(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
