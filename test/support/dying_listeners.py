# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
A crowd of subscribers that are killed, one after the other, at any moment of their lives.

Run as a program, this file makes them: it imports rclpy once and forks a subscriber for each line
that it reads. `started PID` is a new one, `listens PID` one that has subscribed, `heard PID` one
that has its first message.
"""
from __future__ import annotations

from collections.abc import Iterator
import contextlib
import os
import random
import signal
import subprocess
import sys
from threading import Condition, Thread

from node_process import PATIENCE
import shared_memory

TOPICS = ('image_raw', 'image_display', 'frame_info')
SIZE = 6
YOUNG = 0.3  # share of those that are killed before they have heard anything
HEARS_S = 10.0  # until a subscriber has heard something; a stand-still of the node may last
TIDY_EVERY = 20  # kills, each of which leaves a segment of 64 MB


class Crowd:
    """Six subscribers of which one dies at a time; see kill_one."""

    def __init__(self, scope: str, seed: int) -> None:
        self.kills = 0
        self._random = random.Random(seed)
        self._alive: dict[int, bool] = {}  # by process id: whether it has heard anything
        self._changed = Condition()
        self._nursery = subprocess.Popen(
            [sys.executable, __file__, scope], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, start_new_session=True)  # a group of their own, for end
        self._reader = Thread(target=self._read)
        self._reader.start()
        for _ in range(SIZE):
            self._start()
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._alive) == SIZE, PATIENCE)

    def _read(self) -> None:
        assert self._nursery.stdout is not None
        for line in self._nursery.stdout:
            word, pid = line.split()
            with self._changed:
                if word == 'started':
                    self._alive[int(pid)] = False
                elif word == 'heard' and int(pid) in self._alive:
                    self._alive[int(pid)] = True
                self._changed.notify_all()

    def _start(self) -> None:
        assert self._nursery.stdin is not None
        self._nursery.stdin.write('\n')
        self._nursery.stdin.flush()

    def kill_one(self) -> None:
        """Kill a subscriber, most often one that hears, and start another one."""
        with self._changed:
            if self._random.random() >= YOUNG:
                self._changed.wait_for(lambda: any(self._alive.values()), HEARS_S)
            else:
                self._changed.wait_for(lambda: not all(self._alive.values()), 0.2)
            self._changed.wait_for(lambda: self._alive, PATIENCE)
            young = [pid for pid, hears in self._alive.items() if not hears]
            old = [pid for pid, hears in self._alive.items() if hears]
            choice = young if young and (not old or self._random.random() < YOUNG) else old
            self._changed.wait(self._random.uniform(0.0, 0.2))  # any moment of a frame's way
            pid = self._random.choice(choice)
            del self._alive[pid]
        shared_memory.note(pid)
        os.kill(pid, signal.SIGKILL)
        self.kills += 1
        self._start()
        if self.kills % TIDY_EVERY == 0:
            shared_memory.remove_noted()

    def end(self) -> None:
        """Kill them all, those that have just begun, too."""
        with self._changed:
            for pid in self._alive:
                shared_memory.note(pid)
        os.killpg(self._nursery.pid, signal.SIGKILL)
        self._nursery.wait()
        self._reader.join()
        shared_memory.remove_noted()


@contextlib.contextmanager
def crowd(scope: str, seed: int = 1) -> Iterator[Crowd]:
    """Have a crowd listen to a scope."""
    listeners = Crowd(scope, seed)
    try:
        yield listeners
    finally:
        listeners.end()


def subscribe(scope: str, report: int = 1) -> None:
    """Subscribe to all topics and listen for ever; report is the descriptor of `heard`."""
    import rclpy

    rclpy.init()
    node = rclpy.create_node(f'listener_{os.getpid()}', enable_rosout=False,
                             start_parameter_services=False)
    heard = []

    def take(message: bytes) -> None:
        if not heard:
            heard.append(True)
            os.write(report, f'heard {os.getpid()}\n'.encode())

    for topic in TOPICS:
        node.create_subscription(_type(topic), f'{scope}/{topic}', take, 10, raw=True)
    os.write(report, f'listens {os.getpid()}\n'.encode())
    rclpy.spin(node)


def _type(topic: str) -> type:
    from miniscope_msgs.msg import FrameInfo
    from sensor_msgs.msg import Image

    return FrameInfo if topic == 'frame_info' else Image


def main(scope: str) -> None:
    """Fork a subscriber for each line of the input."""
    import rclpy  # noqa: F401 - imported before the forks, which then are quick

    _type('image_raw')
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    # Fast DDS writes complaints to the standard output, which would stand between the reports.
    report = os.dup(1)
    os.dup2(2, 1)
    while sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            subscribe(scope, report)
            return
        os.write(report, f'started {pid}\n'.encode())


if __name__ == '__main__':
    main(sys.argv[1])
