# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Bringing up the link between a DAQ box and its scope, also one that seems out of reach."""

from __future__ import annotations

import logging

from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.daq.packets import serdes
from miniscope_ros.errors import DeviceLost, NoLink
from miniscope_ros.sources.miniscope_link import ScopeLink

_log = logging.getLogger(__name__)

FIRST_FRAME_S = 2.0  # the longest wait for a first frame, and again after the SERDES packets
_SERDES_PAUSE_S = 0.4  # after each pair; serialiser and deserialiser lock again
_FAST_CLOCK_MHZ = 50.0  # above this pixel clock the pair is sent twice
_BLIND_S = 3.0  # the longest wait for frames after the rate was sent without seeing frames


def bring_up_link(
    link: ScopeLink, device_type: DeviceType, *, first_frame_s: float = FIRST_FRAME_S,
    pauses: bool = True,
) -> None:
    """
    Wait for the stream's first frame, send the SERDES mode and the init list.

    first_frame_s is how long a frame is waited for, and once more after the SERDES packets,
    which the link may need to come up. pauses False leaves out the time that hardware needs to
    settle. Raises NoLink if no frame comes, DeviceLost if frames come no more.
    """
    # Nothing is sent before a frame has ended: packets run at frame ends only, and a dead
    # client's packets may still wait in the box's queue.
    linked = link.wait_for_first_frame(first_frame_s)
    for _ in range(2 if device_type.pixel_clock > _FAST_CLOCK_MHZ else 1):
        sent_ns = link.send(serdes(device_type.pixel_clock))
        if not linked and not link.wait_for_first_frame(first_frame_s):
            raise NoLink(
                f'{link.transport.location or "the DAQ box"} sends no frames: no link to the '
                'scope; check the coaxial cable between DAQ box and scope, and the scope itself')
        linked = True
        try:
            link.wait_for_frame_ends(2, sent_ns, _SERDES_PAUSE_S * pauses)
        except DeviceLost as error:
            if link.frames_flow() or link.firmware.longest_period_s is None:
                raise
            _speed_up(link, device_type, error)
    link.send(device_type.init)


def _speed_up(link: ScopeLink, device_type: DeviceType, silence: DeviceLost) -> None:
    """
    Reach a scope of which only the first frame of a stream comes.

    The UCLA firmware restarts its transfer when no data came for 400 ms, and every restart
    resets the frame-ID bit: the kernel then takes each frame for a part of the one before. A
    scope that was set to so slow a rate stays like that until its power is cut. Packets run all
    the same, so LED dark and a usual rate are sent without waiting for frames.
    """
    if link.firmware.longest_period_s is None or not link.came_up:
        raise DeviceLost('no second frame of the stream came')
    rate = device_type.controls['frame_rate']
    _log.warning(
        'only the first frame of the stream came, as from a scope whose frame rate is too slow '
        'for the DAQ box: LED dark and %g frames/s are sent without waiting for frames',
        rate.start)
    sent_ns = 0
    for control in (*device_type.lights, rate):
        value = control.start if control is rate else control.darkest
        sent_ns = link.send(control.packets(value), at_once=True)
    if not link.wait_for_first_frame(_BLIND_S):
        raise DeviceLost(
            f'{silence}; nor did sending LED dark and the frame rate help: cut its power'
        ) from silence
    link.wait_for_frame_ends(2, sent_ns)
