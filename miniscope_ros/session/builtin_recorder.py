# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The built-in recorder, a program of its own, for computers without `ros2 bag record`.

Messages are taken as they were serialized and handed to a thread that writes; what waits for the
disk is bounded, and a message that finds no room is counted as lost. Twice a second a line of
JSON on the standard output says what is in the bag (see Books). It ends in order on SIGINT.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
import json
import os
from pathlib import Path
import sys
from threading import Event, Thread
import time
from typing import Any

from miniscope_ros.errors import ConfigurationError, MiniscopeError
from miniscope_ros.installing import pip_install
from miniscope_ros.session.message_queue import MessageQueue
from miniscope_ros.stop import Stop

_POLL_S = 0.004  # between looks at the subscriptions; intake.py sizes its queues by it
_LOOK_S = 0.2  # between looks for topics that nobody publishes yet
_REPORT_S = 0.5  # between two lines on the standard output
_FLUSH_S = 0.4  # a kill -9 may lose so much: less than the second that the docs promise
_SYNC_S = 1.0  # between two calls of fsync
_LAST_S = 0.2  # after this time without a message, all that was published has been taken
_LAST_MOST_S = 1.0  # then the recorder ends although messages still come


def main(arguments: Sequence[str] | None = None) -> None:
    """Record until a signal; exit status 1, with the reason, if not all could be written."""
    options = _parser().parse_args(arguments)
    stop = Stop()
    stop.install()
    try:
        error = _record(options, stop)
    except (MiniscopeError, OSError) as raised:
        error = str(raised)
        _say(error=error)
    if error:
        print(f'recorder: {error}', file=sys.stderr, flush=True)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='builtin_recorder', description='Records topics into an mcap bag as rosbag2 does.')
    parser.add_argument('--output', type=Path, required=True, help='folder of the new bag')
    parser.add_argument('--node-name', default='recorder')
    parser.add_argument('--split-seconds', type=float, default=0.0)
    parser.add_argument('--split-bytes', type=int, default=0)
    parser.add_argument('--compress', action='store_true', help='zstd, chunk by chunk')
    parser.add_argument('--queue-mb', type=float, default=256.0,
                        help='most that waits for the disk [MB]')
    parser.add_argument('topics', nargs='+')
    return parser


def _record(options: argparse.Namespace, stop: Stop) -> str:
    """Return why not all was recorded; empty if it was."""
    try:
        from miniscope_ros.session.bag_writer import BagWriter
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f'the built-in recorder needs the Python module {error.name}: {pip_install("mcap")}, '
            'or install ros2bag and rosbag2_storage_mcap') from error
    from miniscope_ros.session.intake import Intake
    bag = BagWriter(
        options.output, split_bytes=options.split_bytes,
        split_ns=round(options.split_seconds * 1e9), compress=options.compress,
        distribution=os.environ.get('ROS_DISTRO') or 'unknown')
    queue = MessageQueue(int(options.queue_mb * 1e6))
    writing = Writing(bag, queue, stop)
    with Intake(options.node_name, options.topics, queue) as intake:
        threads = [Thread(target=job, args=arguments, name=job.__name__, daemon=True)
                   for job, arguments in ((_report, (intake, writing, stop.event)),
                                          (_sync, (bag, writing, stop.event)))]
        taking = Thread(target=_take, args=(intake, stop), name='take')
        writing.start()
        for thread in [*threads, taking]:
            thread.start()
        stop.wait()
        taking.join()
        intake.finish()
        queue.close()
        writing.join()
        for thread in threads:
            thread.join(_SYNC_S)
        _say(**_books(intake, writing), closed=not writing.error, error=writing.error,
             sha256={info.path: info.sha256 for info in bag.files if info.sha256})
    return writing.error


class Writing:
    """The thread that writes; error says why it cannot go on."""

    def __init__(self, bag: Any, queue: MessageQueue, stop: Stop) -> None:
        self._bag = bag
        self._queue = queue
        self._stop = stop
        self.error = ''
        self.counts: Counter[str] = Counter()
        self.repeated: Counter[str] = Counter()
        self.bytes = 0
        self._thread = Thread(target=self._run, name='write')

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Return when all is written, or nothing can be any more."""
        self._thread.join()

    def fail(self, error: OSError) -> None:
        """Store an error and ask the recorder to end."""
        if not self.error:
            self.error = f'the disk does not take the recording: {error}'
        self._stop.request()

    def _run(self) -> None:
        try:
            self._write_all()
            if not self.error:
                self._bag.close()
        except OSError as error:
            self.fail(error)
        if self.error:
            self._bag.rescue()
        self._update()

    def _write_all(self) -> None:
        flushed = time.monotonic()
        while not self.error and not self._queue.ended:
            item = self._queue.get(_FLUSH_S / 4)
            if item is not None:
                kind, content = item
                (self._bag.add if kind == 'channel' else self._bag.write)(content)
            now = time.monotonic()
            if now - flushed >= _FLUSH_S:
                self._bag.flush()
                self._bag.check()
                self._update()
                flushed = now

    def _update(self) -> None:
        self.counts = self._bag.counts
        self.repeated = self._bag.repeated
        self.bytes = self._bag.size


def _take(intake: Any, stop: Stop) -> None:
    """Take messages until the end, and then those that are still on their way."""
    looked = 0.0
    try:
        while not stop.event.is_set():
            now = time.monotonic()
            if now - looked >= _LOOK_S:
                intake.look_for_topics()
                looked = now
            if not intake.take():
                time.sleep(_POLL_S)
        end = quiet = time.monotonic()
        while (now := time.monotonic()) - end < _LAST_MOST_S and now - quiet < _LAST_S:
            if intake.take():
                quiet = now
            else:
                time.sleep(_POLL_S)
    except MiniscopeError as error:
        intake.error = str(error)
        stop.request()


def _report(intake: Any, writing: Writing, ended: Event) -> None:
    while not ended.wait(_REPORT_S):
        _say(**_books(intake, writing))


def _sync(bag: Any, writing: Writing, ended: Event) -> None:
    """Call fsync again and again, in a thread of its own: the disk may take long."""
    while not ended.wait(_SYNC_S):
        try:
            bag.sync()
        except OSError as error:
            writing.fail(error)


def _books(intake: Any, writing: Writing) -> dict[str, Any]:
    if intake.error and not writing.error:
        writing.error = intake.error
    return {'recorded': dict(writing.counts), 'repeated': dict(writing.repeated),
            'lost': dict(intake.lost), 'runs': intake.runs(), 'bytes': writing.bytes}


def _say(**books: Any) -> None:
    """Write a line for who started us; nobody may be there any more, or too slow to read."""
    line = json.dumps(books).encode() + b'\n'
    try:
        os.set_blocking(1, False)
        os.write(1, line)
    except OSError:
        pass


if __name__ == '__main__':
    main()
