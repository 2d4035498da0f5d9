# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks of what the box offers and says of itself."""

from __future__ import annotations

from miniscope_ros.check.bench import Bench
from miniscope_ros.check.finding import Finding, judged, untold
from miniscope_ros.daq.firmware import OPEN_EPHYS_UNIT
from miniscope_ros.transports import v4l2_controls as controls
from miniscope_ros.transports.transport import Transport
from miniscope_ros.transports.v4l2_formats import list_formats

_WORDS = {'CONTRAST': controls.CONTRAST, 'GAMMA': controls.GAMMA, 'SHARPNESS': controls.SHARPNESS}
_OTHERS = {
    'SATURATION': controls.SATURATION, 'HUE': controls.HUE,
    'EXPOSURE_ABSOLUTE': controls.EXPOSURE_ABSOLUTE, 'PAN': controls.PAN_ABSOLUTE,
    'TILT': controls.TILT_ABSOLUTE}
_WORD_MAXIMUM = 65535


def formats(bench: Bench) -> Finding:
    """List the sizes that the box offers."""
    wanted = f'{bench.device_type.width}x{bench.device_type.height} YUYV'
    if not bench.video:
        return untold('the kernel has made no video node', f'{wanted} among them')
    offered = list_formats(bench.video)
    names = [f'{one.width}x{one.height} {one.pixel_format}' for one in offered]
    there = wanted in names
    return judged(
        there, f'{len(names)} sizes, {wanted} {"" if there else "not "}offered',
        f'{wanted} among them', formats=names)


def control_ranges(bench: Bench) -> Finding:
    """Ask for the ranges of the controls that carry commands and readings."""
    transport = bench.transport()
    transport.open(bench.device_type.width, bench.device_type.height)
    try:
        ranges = _ranges(transport)
        has_unit = transport.find_unit(OPEN_EPHYS_UNIT) is not None
    finally:
        transport.close()
    if has_unit:
        return judged(
            True, 'commands go through the extension unit', 'a way for commands', ranges=ranges)
    narrow = [name for name in _WORDS
              if ranges[name] is None or (ranges[name] or (0, 0))[1] < _WORD_MAXIMUM]
    measured = ', '.join(f'{name} {_text(ranges[name])}' for name in (narrow or _WORDS))
    return judged(not narrow, measured, f'each reaches {_WORD_MAXIMUM}', ranges=ranges)


def firmware(bench: Bench) -> Finding:
    """Take what the opened box said of its firmware."""
    info = bench.info
    assert info is not None
    warnings = [text for text in info.warnings if 'firmware' in text and 'transport' not in text]
    return judged(
        not warnings, '; '.join((info.firmware, *warnings)),
        'UCLA interface 2, or Open Ephys, with all functions', firmware=info.firmware,
        card=info.card)


def _ranges(transport: Transport) -> dict[str, tuple[int, int] | None]:
    return {name: transport.control_range(control)
            for name, control in (_WORDS | _OTHERS).items()}


def _text(limits: tuple[int, int] | None) -> str:
    return 'missing' if limits is None else f'{limits[0]}..{limits[1]}'
