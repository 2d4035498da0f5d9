# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The figures, each a generator of table rows."""
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
import json
import re
from statistics import median
import subprocess
import sys
import time

import numpy as np

from . import exports, long_check, panel, pictures, stamps, topics
from .effort import Effort
from .recorder import record, recorders
from .report import Row
from .session import Kind, Notes, run, run_several, Session, Setting, Window

FAILURES = (RuntimeError, TimeoutError, subprocess.SubprocessError)  # what a session may raise

FLOOR_RATIO = 1.5
USB_RATIO = 1.3
ALONE_MS = 0.6
STAGES_MS = {'display': 0.6, 'check of the picture': pictures.GOAL_MS}
RAW_MS, DISPLAY_MS = 5.0, 8.0
# The display gives way to image_raw by design, but one that does so all the time is none.
MOST_SKIPPED = 0.01
START = 2.0  # [s]
# The protocol's own pauses: after each sending of the SERDES packets, and before the controls are
# sent again. It also waits for ends of frames, which are no part of the goal: 1 for the link,
# 3 for darkness, 1 for the controls sent again, 3 for the light, and 1 is published. What is being
# read out when packets are sent does not count: 5 more. About 0.5 s at 30 frames/s.
PAUSES = 2 * 0.4 + 1.0  # [s]
MEMORY_MB, MEMORY_GROWTH_MB = 200.0, 2.0
LINEAR = 1.25  # cost of a scope among four, relative to one alone
SIZES = (
    Setting(rate=300.0),
    Setting(device_type='MiniLFOV_Bin2x_Avg', size=(1296, 972), rate=60.0),
    Setting(device_type='MiniLFOV_FullReso', size=(2592, 1944), rate=14.0),
)
LADDER = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
SCREENING = 5.0  # [s]


def cpu_time(effort: Effort) -> Iterator[Row]:
    """Figure 1: CPU time per frame."""
    nobody: tuple[str, ...] = ()
    raw = ('image_raw',)
    settings = {
        f'{kind} {name}': Setting(kind, listens)
        for name, listens in (('all', topics.ALL), ('none', nobody), ('raw', raw))
        for kind in ('node', 'floor')}
    settings['serialized all'] = Setting('serialized')
    settings['peer raw'] = Setting('peer', raw)
    settings['usb all'] = Setting('usb')
    settings['simulated all'] = Setting('simulated')
    series: dict[str, list[float]] = {name: [] for name in settings}
    # In turns, so that what else the computer does befalls all of them alike.
    for _ in range(effort.repeats):
        for name, setting in settings.items():
            series[name].append(_cost_ms(setting, effort.cost))
    ms = {name: median(values) for name, values in series.items()}

    def row(what: str, name: str, floor: str, goal: str, met: bool | None) -> Row:
        return Row(1, what, f'{ms[name]:.2f} ms ({ms[name] / ms[floor]:.2f} x floor)',
                   f'{ms[floor]:.2f} ms', goal, met, {'ms': series[name], 'floor': series[floor]})

    yield row('CPU per frame, five subscribers', 'node all', 'floor all',
              f'<= {FLOOR_RATIO:g} x floor', ms['node all'] <= FLOOR_RATIO * ms['floor all'])
    yield Row(
        1, 'CPU per frame over transport usb, five subscribers',
        f'{ms["usb all"]:.2f} ms ({ms["usb all"] / ms["node all"]:.2f} x v4l2)', '',
        f'<= {USB_RATIO:g} x v4l2', ms['usb all'] <= USB_RATIO * ms['node all'],
        {'ms': series['usb all'], 'v4l2': series['node all']})
    yield row('the floor with messages serialized beforehand, five subscribers',
              'serialized all', 'floor all', '', None)
    yield row('CPU per frame, no subscriber', 'node none', 'floor none',
              f'< {ALONE_MS:g} ms', ms['node none'] < ALONE_MS)
    yield row('CPU per frame, image_raw alone', 'node raw', 'floor raw',
              '< the peer below', ms['node raw'] < ms['peer raw'])
    yield row('peer: cv2.VideoCapture and cv_bridge, image_raw alone', 'peer raw', 'floor raw',
              '', None)
    yield row('CPU per frame, five subscribers, drawing of the simulated scope included',
              'simulated all', 'floor all', '', None)


def _cost_ms(setting: Setting, seconds: float) -> float:
    with run(setting) as session:
        window = session.watch(seconds)
        frames = session.end().frames(window)
    if setting.kind == 'peer':
        frames = round(setting.rate * seconds)
    return window.cpu_ns / 1e6 / frames


@dataclass(frozen=True)
class Arrival:
    """
    What became of the frames at one rate.

    A picture that the node left out because another frame was waiting is no loss: image_raw comes
    first by design. Such pictures are counted apart.
    """

    rate: float  # frames/s
    trouble: str = ''  # why there were fewer frames than the rate says
    raw_lost: int = 0  # from the first that was heard to the last
    pictures_lost: int = 0  # made, but not arrived
    pictures_skipped: int = 0
    share_skipped: float = 0.0

    @property
    def lossless(self) -> bool:
        """Return whether everything that there was arrived, with few pictures skipped."""
        return not self.trouble and not self.raw_lost and not self.pictures_lost \
            and self.share_skipped <= MOST_SKIPPED

    @property
    def skipped(self) -> str:
        """Return the skipped pictures' share as a text."""
        return f'{self.share_skipped:.2%}'.replace('%', ' %')

    def __str__(self) -> str:
        return self.trouble or \
            f'{self.raw_lost}, {self.pictures_lost}, {self.pictures_skipped} ({self.skipped})'


def highest_rate(effort: Effort) -> Iterator[Row]:
    """Figure 2: the highest rate at which everything arrives."""
    for size in SIZES:
        setting = replace(size, listens=topics.IMAGES)
        width, height = setting.size
        node = _arrival(setting, effort.rate)
        floor = _arrival(replace(setting, kind='floor'), effort.rate)
        yield Row(
            2, f'{width}x{height} at {setting.rate:g} /s for {effort.rate:g} s: '
            'raw frames lost, pictures lost, pictures skipped', str(node), str(floor),
            f'none lost, <= {MOST_SKIPPED * 100:g} % skipped', node.lossless,
            {'node': asdict(node), 'floor': asdict(floor)})
        best = _confirmed(setting, node, effort.rate)
        floor_rate = _screened(replace(setting, kind='floor'), floor)
        yield Row(
            2, f'{width}x{height}: highest rate without any loss, pictures skipped at it',
            f'{best.rate:g} /s, {best.skipped}' if best else 'none',
            f'{floor_rate:g} /s for {SCREENING:g} s', f'>= {setting.rate:g} /s',
            best is not None and best.rate >= setting.rate,
            {'node': asdict(best) if best else None, 'floor': floor_rate})


def _confirmed(setting: Setting, known: Arrival, seconds: float) -> Arrival | None:
    """Return the highest rate of the ladder at which nothing is lost for so long, if any."""
    rates = [step * setting.rate for step in LADDER]
    highest = _screened(setting, known)
    for rate in reversed([rate for rate in rates if rate <= highest]):
        arrival = known if rate == known.rate else _arrival(replace(setting, rate=rate), seconds)
        if arrival.lossless:
            return arrival
    return None


def _screened(setting: Setting, known: Arrival) -> float:
    """Return the highest lossless rate [frames/s] of the ladder by a short search, or 0."""
    rates = [step * setting.rate for step in LADDER]
    place = rates.index(known.rate)
    low, high = (place, len(rates)) if known.lossless else (-1, place)
    while high - low > 1:
        middle = (low + high) // 2
        if _arrival(replace(setting, rate=rates[middle]), SCREENING).lossless:
            low = middle
        else:
            high = middle
    return rates[low] if low >= 0 else 0.0


def _arrival(setting: Setting, seconds: float) -> Arrival:
    """Return what became of the frames; a session that failed is trouble like any other."""
    try:
        window, notes = _watch(setting, seconds)
    except FAILURES as error:
        print(f'{setting}: {type(error).__name__}: {error}', file=sys.stderr)
        return Arrival(setting.rate, f'failed ({type(error).__name__})')
    frames = notes.frames(window)
    return Arrival(
        setting.rate,
        '' if frames > 0.99 * setting.rate * seconds else f'only {frames / seconds:.1f} frames/s',
        notes.missing_ever('image_raw', window), notes.pictures_lost, notes.skipped,
        notes.skipped / len(notes.heard['image_raw']))


def latency(effort: Effort) -> Iterator[Row]:
    """Figure 3: from the complete frame to the subscriber's callback."""
    setting = Setting(listens=topics.IMAGES)
    window, notes = _watch(setting, effort.latency)
    floor_window, floor_notes = _watch(replace(setting, kind='floor'), effort.latency)
    for topic, goal in zip(topics.IMAGES, (RAW_MS, DISPLAY_MS), strict=True):
        node = _quantiles(notes.latencies_ms(topic, window))
        floor = _quantiles(floor_notes.latencies_ms(topic, floor_window))
        yield Row(
            3, f'latency of {topic}: median, 99 %, maximum', _triple(node), _triple(floor),
            f'99 % <= {goal:g} ms', node[1] <= goal, {'ms': node, 'floor': floor})


def _quantiles(values: np.ndarray) -> list[float]:
    return [float(value) for value in np.percentile(values, [50, 99, 100])]


def _triple(values: list[float]) -> str:
    return ', '.join(f'{value:.1f}' for value in values) + ' ms'


def _watch(setting: Setting, seconds: float) -> tuple[Window, Notes]:
    with run(setting) as session:
        return session.watch(seconds), session.end()


def start(effort: Effort) -> Iterator[Row]:
    """Figure 4: how long until the first frame."""
    floor = median(_start(Setting('floor'))[0] for _ in range(effort.repeats))
    goals = {
        'simulated': (START, ''), 'node': (PAUSES + 1, f' ({PAUSES:g} s of pauses and 1 s)')}
    for kind, (goal, composed) in goals.items():
        times = [_start(Setting(kind)) for _ in range(effort.repeats)]
        first, activation = (median(column) for column in zip(*times, strict=True))
        place = 'the virtual box' if kind == 'node' else 'the simulated scope'
        yield Row(
            4, f'first frame of {place} after process start, after activation',
            f'{first:.2f} s, {activation:.2f} s', f'{floor:.2f} s', f'< {goal:.1f} s{composed}',
            first < goal, {'s': times, 'floor': floor})


def _start(setting: Setting) -> tuple[float, float]:
    """Return the times [s] from process start and from the end of configuration."""
    with run(setting) as session:
        started_ns = session.publisher.started_ns
        first_ns = min(int(pairs[0, 1]) for pairs in session.end().heard.values())
        configured = re.search(
            r'\[(\d+)\.(\d{9})\].*: configured', session.publisher.log.read_text())
    if configured is None:
        return (first_ns - started_ns) / 1e9, 0.0
    offset_ns = time.time_ns() - time.monotonic_ns()
    configured_ns = int(configured[1] + configured[2]) - offset_ns
    return (first_ns - started_ns) / 1e9, (first_ns - configured_ns) / 1e9


def memory(effort: Effort) -> Iterator[Row]:
    """Figure 5: resident memory, and whether it grows."""
    early, late = effort.memory
    values: dict[str, list[float]] = {}
    shared: dict[str, float] = {}
    spans: dict[Kind, list[float]] = {'node': [early, late - early], 'floor': [early]}
    for kind, seconds_each in spans.items():
        with run(Setting(kind)) as session:
            session.stall(1.0)  # else its length of queue would look like growth
            values[kind] = []
            for seconds in seconds_each:
                session.watch(seconds)
                values[kind].append(session.publisher.resident_mb)
            shared[kind] = session.publisher.shared_mb
    first, last = values['node']
    yield Row(
        5, f'resident memory after {early:g} s and {late:g} s, shared memory among it; '
        'subscribers halted for 1 s before the first reading',
        f'{first:.1f} MB, {last:.1f} MB, {shared["node"]:.1f} MB',
        f'{values["floor"][0]:.1f} MB, {shared["floor"]:.1f} MB', f'< {MEMORY_MB:g} MB and flat',
        last < MEMORY_MB and last - first < MEMORY_GROWTH_MB, {'MB': values, 'shared': shared})


def scale(effort: Effort) -> Iterator[Row]:
    """Figure 6: several scopes at once."""
    alone = 0.0
    for count in (1, 2, 4):
        node, missing = _together(Setting(), count, effort.scale)
        floor, _ = _together(Setting('floor'), count, effort.scale)
        alone = alone or node
        yield Row(
            6, f'{count} scope{"s"[:count - 1]}: CPU per frame of each, '
            'raw frames and pictures lost',
            f'{node:.2f} ms, {missing}', f'{floor:.2f} ms',
            'no loss' if count == 1 else f'<= {LINEAR:g} x that of 1, no loss',
            node <= LINEAR * alone and not missing,
            {'ms': node, 'missing': missing, 'floor': floor})


def _together(setting: Setting, count: int, seconds: float) -> tuple[float, int]:
    """Return CPU time per frame [ms], and raw frames and pictures that did not arrive."""
    with run_several([setting] * count) as sessions:
        windows = watch_all(sessions, seconds)
        notes = [session.end() for session in sessions]
    pairs = list(zip(windows, notes, strict=True))
    frames = sum(note.frames(window) for window, note in pairs)
    missing = sum(
        note.missing_ever('image_raw', window) + note.pictures_lost for window, note in pairs)
    return sum(window.cpu_ns for window in windows) / 1e6 / frames, missing


def watch_all(sessions: list[Session], seconds: float) -> list[Window]:
    """Let all run for that long."""
    begun = [session.begin() for session in sessions]
    time.sleep(seconds)
    return [session.window(begin) for session, begin in zip(sessions, begun, strict=True)]


def stages(effort: Effort) -> Iterator[Row]:
    """Figure 7: where a frame's time goes."""
    with run(Setting('stages')) as session:
        session.watch(effort.cost)
        session.end()
        taken = json.loads(session.publisher.rest().splitlines()[-1])
    frames = taken['display'][2]
    cpu_ms = {name: value[0] / frames for name, value in taken.items()}
    wait_ms = (taken['wait and dequeue'][1] - taken['wait and dequeue'][0]) / frames
    yield Row(7, 'wait for the frame (no CPU)', f'{wait_ms:.2f} ms', numbers={'ms': wait_ms})
    whole = cpu_ms.pop('frame')
    cpu_ms['the rest: account, messages, Python'] = whole - sum(cpu_ms.values())
    for name, ms in cpu_ms.items():
        goal = (f'< {STAGES_MS[name]:g} ms', ms < STAGES_MS[name]) if name in STAGES_MS else ()
        yield Row(7, name.removeprefix('wait and '), f'{ms:.3f} ms', '', *goal, numbers={'ms': ms})
    yield pictures.check_alone()


def recorder(effort: Effort) -> Iterator[Row]:
    """Figure 8: what the recorder costs, and whether it loses anything."""
    for kind in recorders():
        for count, rate in ((1, 30.0), (1, 60.0), (1, 120.0), (2, 60.0)):
            seen = record(kind, count, rate, effort.rate)
            yield Row(
                8, f'{kind} recorder, {count} scope{"s"[:count - 1]} of 608x608 at {rate:g} /s '
                f'for {effort.rate:g} s: share of a core, messages lost, memory at first and at '
                'last', f'{seen.share * 100:.1f} %, {seen.lost}, {seen.first_mb:.0f} MB, '
                f'{seen.last_mb:.0f} MB', '', 'no loss', seen.lost == 0, asdict(seen))


FIGURES: dict[int, Callable[[Effort], Iterator[Row]]] = {
    1: cpu_time, 2: highest_rate, 3: latency, 4: start, 5: memory, 6: scale, 7: stages,
    8: recorder, 9: panel.page, 10: exports.export, 11: stamps.stamps,
    12: long_check.check}
