# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""One publisher at work with its subscribers, and what was seen of the two."""
from collections.abc import Iterator, Mapping, Sequence
import contextlib
from dataclasses import dataclass, replace
import itertools
from pathlib import Path
import re
import sys
import tempfile
import time
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from virtual_daq import BoxConfig, VirtualDaq

from . import topics
from .processes import PATIENCE, Process

Kind = Literal['node', 'usb', 'simulated', 'floor', 'serialized', 'peer', 'stages']
FLOORS = ('floor', 'serialized')
ON_BOX = ('node', 'usb', 'peer', 'stages')
Times = NDArray[np.int64]  # [ns], CLOCK_MONOTONIC

WARM_UP = 3.0  # [s]
NODE = ('-c', 'from miniscope_ros.node.main import main; main()')
PARAMETERS = {'led': '20.0', 'display.mode': 'background_difference'}

_numbers = itertools.count()


@dataclass(frozen=True)
class Setting:
    """What publishes, and what is listened to."""

    kind: Kind = 'node'
    listens: tuple[str, ...] = topics.ALL
    device_type: str = 'Miniscope_V4_BNO'
    size: tuple[int, int] = (608, 608)
    rate: float = 30.0  # frames/s

    def __str__(self) -> str:
        width, height = self.size
        return f'{self.kind} {width}x{height} at {self.rate:g} /s, {len(self.listens)} topics'


@dataclass(frozen=True)
class Window:
    """A span of time, and the CPU time that the publisher spent in it."""

    start_ns: int
    end_ns: int
    cpu_ns: int

    @property
    def share(self) -> float:
        """Return the publisher's share of a core."""
        return self.cpu_ns / (self.end_ns - self.start_ns)

    def among(self, times: Times) -> NDArray[np.bool_]:
        """Return which of the times lie in it."""
        return (self.start_ns <= times) & (times < self.end_ns)


@dataclass(frozen=True)
class Notes:
    """
    What there was to publish, and what arrived.

    stamps are those of all frames that there were, lost ones included; ready tells when each of
    them was complete, 0 for those that the box could not hand over; heard has for each topic the
    pairs (stamp, time of the callback); skipped is how many display pictures the publisher left
    out because another frame was waiting, as it told at its end.
    """

    stamps: Times
    ready: Times
    heard: Mapping[str, Times]
    skipped: int = 0

    def frames(self, window: Window) -> int:
        """Return how many frames there were."""
        return int(window.among(self.stamps).sum())

    def missing(self, topic: str, window: Window) -> int:
        """Return how many of the frames did not arrive."""
        stamps = self.stamps[window.among(self.stamps)]
        return len(np.setdiff1d(stamps, self.heard[topic][:, 0]))

    def missing_ever(self, topic: str, window: Window) -> int:
        """Return the same from the first message heard on, before and after the window too."""
        stamps = self.heard[topic][:, 0]
        return self.missing(topic, replace(
            window, start_ns=int(stamps.min()), end_ns=max(window.end_ns, int(stamps.max()))))

    @property
    def pictures_lost(self) -> int:
        """
        Return how many pictures did not arrive whose raw frame did, skipped ones apart.

        Over the whole session, as it is known of no picture alone whether it was skipped; too few
        where raw frames are missing.
        """
        return max(0, len(np.setdiff1d(
            *(self.heard[topic][:, 0] for topic in topics.IMAGES))) - self.skipped)

    def with_page(self, shown: Times) -> 'Notes':
        """Add pairs (stamp, time of showing) of a page [ns], both by the system's clock."""
        offset = time.time_ns() - time.monotonic_ns()
        pairs = np.column_stack([shown[:, 0], shown[:, 1] - offset])
        return replace(self, heard={**self.heard, 'page': _on_timeline(pairs, self.stamps)})

    def latencies_ms(self, topic: str, window: Window) -> NDArray[np.float64]:
        """Return the times from complete frame to callback [ms]."""
        pairs = self.heard[topic]
        pairs = pairs[window.among(pairs[:, 0])]
        return (pairs[:, 1] - self.ready[np.searchsorted(self.stamps, pairs[:, 0])]) / 1e6


class Session:
    """A publisher under test; use run() to make one."""

    def __init__(self, setting: Setting, folder: Path, rig: VirtualDaq) -> None:
        self.setting = setting
        self._folder = folder
        self._box = rig.box
        self.scope = f'/scope{next(_numbers)}/miniscope'
        environment = rig.environ() if setting.kind in ON_BOX else None
        self.listener = Process(
            ['-m', 'benchmark.listener', self.scope, str(folder / 'heard.npz'),
             *setting.listens], folder / 'listener.log') if setting.listens else None
        self.publisher = Process(self._command(), folder / 'publisher.log', environment)

    def _command(self) -> list[str]:
        setting = self.setting
        width, height = (str(length) for length in setting.size)
        if setting.kind in FLOORS:
            return ['-m', 'benchmark.floor', setting.kind, self.scope,
                    str(self._folder / 'stamps.npy'), width, height, str(setting.rate),
                    *setting.listens]
        if setting.kind == 'peer':
            return ['-m', 'benchmark.peer', self._box.path, width, height, str(setting.rate),
                    self.scope]
        given = {**PARAMETERS, 'device_type': setting.device_type, 'source': 'simulated'}
        if setting.kind != 'simulated':
            given |= {'source': 'daq', 'device': self._box.path}
        program = ('-m', 'benchmark.stages') if setting.kind == 'stages' else NODE
        namespace = self.scope.rpartition('/')[0]
        return [*program, '--ros-args', '-r', f'__ns:={namespace}', *(
            part for name, value in given.items() for part in ('-p', f'{name}:={value}'))]

    def wait_until_running(self) -> None:
        """Return when everything flows: heard by all, or without anybody, the light on."""
        if self.listener is not None:
            try:
                self.listener.wait_for('heard')
            except TimeoutError as error:
                raise TimeoutError(f'{error}\n{self.publisher}') from error
        elif self.setting.kind in FLOORS:
            self.publisher.wait_for('publishing')
        else:
            self._box.wait(lambda: self._box.led, PATIENCE)

    def watch(self, seconds: float) -> Window:
        """Let it run that long, and return the window."""
        begun = self.begin()
        time.sleep(seconds)
        return self.window(begun)

    def stall(self, seconds: float) -> None:
        """
        Halt the subscribers for that long.

        The node's queues fill, and DDS takes the memory for them, which it keeps: without that
        it does so one picture at a time, at the moments when the computer is busy.
        """
        if self.listener is not None:
            self.listener.halt(seconds)

    def begin(self) -> tuple[int, int]:
        """Return the time and the CPU time so far [ns], for window()."""
        return time.monotonic_ns(), self._cpu_ns

    def window(self, begun: tuple[int, int]) -> Window:
        """Return the window from begin() till now; RuntimeError if the publisher has ended."""
        self.publisher.check()
        start_ns, cpu_ns = begun
        return Window(start_ns, time.monotonic_ns(), self._cpu_ns - cpu_ns)

    @property
    def _cpu_ns(self) -> int:
        """CPU time of the publisher without the box, whose threads live in the same process."""
        return self.publisher.cpu_ns - round(self._box.cpu_time * 1e9)

    def end(self) -> Notes:
        """Stop the publisher, then the subscribers; RuntimeError if a topic was not heard."""
        self.publisher.stop()
        heard: dict[str, Times] = {}
        if self.listener is not None:
            time.sleep(0.5)
            self.listener.stop()
            with np.load(self._folder / 'heard.npz') as file:
                heard = {name: file[name] for name in file.files}
        for topic, pairs in heard.items():
            if not len(pairs):
                raise RuntimeError(f'nothing heard on {topic}: {self.publisher}')
        if self.setting.kind in FLOORS:
            stamps = np.load(self._folder / 'stamps.npy')
            # It begins before all subscribers are known to it.
            begin = max((pairs[0, 0] for pairs in heard.values()), default=0)
            return Notes(stamps, stamps, {
                name: pairs[pairs[:, 0] >= begin] for name, pairs in heard.items()})
        if self.setting.kind == 'simulated':
            # The box is inside the node: all that is known of the frames is what was told of them.
            arrivals = heard['frame_info'][:, 1]
            return Notes(arrivals, arrivals, heard)
        frames = self._box.frames
        stamps = np.ascontiguousarray(frames['reported_ns'])
        return Notes(
            stamps, np.ascontiguousarray(frames['ready_ns']),
            {name: _on_timeline(pairs, stamps) for name, pairs in heard.items()}, self._skipped())

    def _skipped(self) -> int:
        """Return how many display pictures the node told to have skipped; the peer knows none."""
        told = re.search(r'display skipped (\d+)', self.publisher.log.read_text())
        return int(told[1]) if told else 0


def _on_timeline(pairs: Times, stamps: Times) -> Times:
    """Give messages, stamped by the system's clock and rounded, the stamps of their frames."""
    offset = time.time_ns() - time.monotonic_ns()
    later = np.clip(np.searchsorted(stamps, pairs[:, 0] - offset), 1, len(stamps) - 1)
    middle = (stamps[later - 1] + stamps[later]) // 2
    nearest = np.where(pairs[:, 0] - offset < middle, later - 1, later)
    return np.column_stack([stamps[nearest], pairs[:, 1]])


@contextlib.contextmanager
def run(setting: Setting) -> Iterator[Session]:
    """Start a publisher on a box of its own, with its subscribers; all ends with the block."""
    with run_several([setting]) as sessions:
        yield sessions[0]


@contextlib.contextmanager
def run_several(settings: Sequence[Setting]) -> Iterator[list[Session]]:
    """Do the same for several at once; return when all of them have run for a while."""
    print(time.strftime('%H:%M:%S'), *settings, sep='  ', file=sys.stderr, flush=True)
    with contextlib.ExitStack() as stack:
        sessions = []
        for setting in settings:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            # The node itself chooses USB where the kernel answers from its cache.
            kernel = 'new_kernel' if setting.kind == 'usb' else 'old_kernel'
            rig = VirtualDaq(folder, [BoxConfig(
                setting.device_type, rate=setting.rate, kernel=kernel)])
            session = Session(setting, folder, rig)
            for process in (session.listener, session.publisher):
                if process is not None:
                    stack.enter_context(process)
            sessions.append(session)
        for session in sessions:
            session.wait_until_running()
        time.sleep(WARM_UP)
        yield sessions
