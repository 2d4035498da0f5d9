# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Subscribers that are killed, whoever and whenever: no frame is lost without a word.

The middleware can stand still, or hang for ever, when a subscriber on the same computer dies while
it holds a lock in shared memory; docs/middleware.md says what is known. A node that hangs is ended
by its watcher, and that is counted here, not hidden.
"""
from dataclasses import dataclass, field
from itertools import pairwise
import os

from dying_listeners import crowd
from listening import Listener, stamp_ns
from miniscope_msgs.msg import FrameInfo
from node_process import NodeProcess
import pytest

RATE = 60.0
SCOPE = {'source': 'simulated', 'device_type': 'Miniscope_V3', 'frame_rate': RATE, 'led': 20.0}
PERIOD_NS = 1e9 / RATE
HANGS = 'has given no sign of life'


@dataclass
class Run:
    """What came of killing."""

    kills: int = 0
    hangs: int = 0  # that the watcher ended
    published: int = 0
    lost: int = 0
    unheard: int = 0  # frame_info that came too late to this listener, which is one of many
    longest_s: float = 0.0  # between two frames that were published
    frames: list[FrameInfo] = field(default_factory=list)  # of the present node

    def take(self) -> None:
        """Check the account of one node's frames, and forget them."""
        for before, after in pairwise(self.frames):
            if after.frame_index != before.frame_index + 1:
                self.unheard += after.frame_index - before.frame_index - 1
                continue
            assert after.capture_index == before.capture_index + 1 + after.lost_before
            gap = (stamp_ns(after) - stamp_ns(before)) / PERIOD_NS
            assert abs(gap - 1 - after.lost_before) <= 1 + after.lost_uncertainty, (
                f'{after.lost_before} frames were told as lost in {gap:.1f} periods')
            self.lost += after.lost_before
            self.longest_s = max(self.longest_s, gap / RATE)
        self.published += len(self.frames)
        self.frames.clear()


def kill_listeners(kills: int, seed: int = 1) -> Run:
    """Kill so many subscribers of a node at 60 frames/s; a node that hangs is followed by one."""
    run = Run()
    node = NodeProcess(SCOPE)
    try:
        with Listener() as ear, crowd(ear.scope, seed) as listeners:
            frames = ear.listen('frame_info')
            ear.wait_for(frames, 30)
            while listeners.kills < kills:
                listeners.kill_one()
                if not node.alive:
                    node.wait()
                    run.hangs += 1
                    assert node.said(HANGS), node.output
                    run.frames += frames
                    run.take()
                    frames.clear()
                    node = NodeProcess(SCOPE)
                    ear.wait_for(frames, 30)
            ear.wait_for(frames, len(frames) + 30)
            status = node.stop()
            assert status == 0, node.output
            run.frames += frames
            run.take()
        run.kills = listeners.kills
    finally:
        if node.alive:
            node.kill()
    return run


@pytest.mark.timeout(3600)
@pytest.mark.parametrize('kills', [20, pytest.param(1000, marks=pytest.mark.soak)])
def test_every_lost_frame_is_told(kills: int) -> None:
    run = kill_listeners(int(os.environ.get('KILLS', kills)))
    print(f'{run.kills} kills, {run.hangs} hangs, {run.published} frames published, {run.lost} '
          f'lost, {run.unheard} not heard here, at most {run.longest_s:.2f} s between two frames')
    assert run.kills >= kills and run.published > 0
