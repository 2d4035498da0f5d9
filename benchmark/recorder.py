# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A recorder that takes all topics of scopes: its CPU time, its memory, what it lost."""
from contextlib import ExitStack, suppress
from dataclasses import dataclass
import os
from pathlib import Path
import tempfile
import time

from miniscope_ros.errors import ConfigurationError, DeviceError
from miniscope_ros.recordings.certificate import Contents
from miniscope_ros.session.recorder import choose_recorder, Recorder
from miniscope_ros.session.session_file import RecordSettings
from miniscope_ros.session.topics import ORIENTATION_TOPICS, PER_FRAME, TOPICS

from .session import run_several, Setting

SETTLE = 2.0  # [s] until the recorder listens to everything


@dataclass(frozen=True)
class Seen:
    """What a recorder did."""

    share: float  # of a core
    lost: int  # messages that come once a frame
    first_mb: float
    last_mb: float


def recorders() -> list[str]:
    """Return which recorders there are."""
    try:
        choose_recorder(RecordSettings(recorder='rosbag2'))
    except ConfigurationError:
        return ['builtin']
    return ['builtin', 'rosbag2']


def record(kind: str, count: int, rate: float, seconds: float) -> Seen:
    """Record so many scopes on virtual boxes for so long."""
    settings = [Setting(listens=(), rate=rate)] * count
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / 'bag'
        sessions = stack.enter_context(run_several(settings))
        scopes = [session.scope for session in sessions]
        recorder = Recorder(
            folder, [f'{scope}/{topic}' for scope in scopes
                     for topic in TOPICS + ORIENTATION_TOPICS], RecordSettings(recorder=kind))
        stack.callback(_end, recorder)
        time.sleep(SETTLE)
        begin, first_ns, first_mb = time.monotonic(), _cpu_ns(recorder), _resident_mb(recorder)
        time.sleep(seconds)
        spent = (_cpu_ns(recorder) - first_ns) / 1e9 / (time.monotonic() - begin)
        last_mb = _resident_mb(recorder)
        recorder.check()
        for session in sessions:
            session.end()
        time.sleep(1.0)
        recorder.stop()
        return Seen(spent, _lost(Contents(folder), scopes), first_mb, last_mb)


def _end(recorder: Recorder) -> None:
    with suppress(DeviceError):  # it has ended already, unless something went wrong before
        recorder.stop()


def _lost(contents: Contents, scopes: list[str]) -> int:
    """Return what is missing from the first recorded frame of each scope to the last."""
    lost = 0
    for scope in scopes:
        run, = contents.runs[f'{scope}/frame_info'].runs
        frames = run.last - run.first + 1
        lost += sum(max(0, frames - contents.counts[f'{scope}/{topic}']) for topic in PER_FRAME)
    return lost


def _cpu_ns(recorder: Recorder) -> int:
    return time.clock_gettime_ns(~recorder.pid << 3 | 2)  # see clock_getcpuclockid(3)


def _resident_mb(recorder: Recorder) -> float:
    pages = int(Path(f'/proc/{recorder.pid}/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6
