# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A frame that waited on a busy computer proves no execution of what was sent after its end."""
from __future__ import annotations

from dataclasses import replace
from threading import Event
import time

from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.daq.firmware import recognise
from miniscope_ros.model import RawFrame, SourceEvent
from miniscope_ros.simulation.box import SimulatedTransport
from miniscope_ros.sources.miniscope_link import ScopeLink
from miniscope_ros.sources.patience import Patience
from miniscope_ros.transports.transport import Buffer

V4 = load_catalogue()['Miniscope_V4_BNO']
RATE = V4.controls['frame_rate'].start
ENDS = 3


class Arrivals(SimulatedTransport):
    """The simulated box, whose frames have times of arrival; one of them may be late."""

    late = False  # the next frame is stamped when it is taken

    def dequeue(self, timeout: float) -> Buffer | None:
        buffer = super().dequeue(timeout)
        if buffer is None or buffer.stamp_ns is None:
            return buffer
        taken_ns, self.late = time.monotonic_ns() if self.late else buffer.stamp_ns, False
        return replace(buffer, stamp_ns=taken_ns, is_arrival=True)


def test_a_frame_that_is_stamped_late_counts_as_no_frame_end() -> None:
    transport = Arrivals(V4, loss_rate=0.0)
    transport.open(V4.width, V4.height)
    events: list[SourceEvent] = []
    transport.start(32)
    link = ScopeLink(
        transport, recognise(transport, V4.orientation), V4, Patience(Event()), events, RATE)
    try:
        for _ in range(12):
            link.discard()
        while not transport.waiting():  # a frame ends, and is not taken yet
            pass
        sent_ns = time.monotonic_ns()
        transport.late = True
        events.clear()
        link.wait_for_frame_ends(ENDS, sent_ns)
    finally:
        link.close()
    taken = {event.sequence for event in events if isinstance(event, RawFrame)}
    began_since = [frame for frame in transport.frames
                   if frame.sequence in taken and frame.stamp_ns >= sent_ns]
    assert len(began_since) >= ENDS
