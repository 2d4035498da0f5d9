# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the session node: an executor in threads, the recordings in the main one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
from dataclasses import dataclass
import logging
import os
import sys
from threading import Event, Thread
from typing import Any

from miniscope_ros.errors import DeviceError, MiniscopeError
from miniscope_ros.session.graph import Graph
from miniscope_ros.session.programs import Programs
from miniscope_ros.session.session_file import SessionFile
from miniscope_ros.session.session_node import SessionNode
from miniscope_ros.stop import Stop
from miniscope_ros.watch.middleware import load_profile, must_start, why_refused
import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.signals import SignalHandlerOptions

_log = logging.getLogger('miniscope_ros.session')

_ENDS_S = 2.0
_THREADS = 3  # start may wait, stop may wait, and a note is taken all the same


@dataclass(frozen=True)
class Task:
    """What the program does, and when it ends."""

    name: str = 'session'  # of the node
    start: bool = False  # begin a recording at once
    folder: str = ''  # of that recording; empty: by the session file
    once: bool = False  # end with the first recording
    programs: bool = False  # start the nodes of the session, too, and end them
    returns_s: float = 0.0  # a scope that has ended may take so long to be started again [s]


def run(session: SessionFile, stop: Stop, task: Task, ros_arguments: list[str] | None = None,
        **options: Any) -> int:
    """Run until stop, or until the task is done; return the exit status. options: of the node."""
    load_profile()
    try:
        with must_start(task.name):
            rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # arguments that ROS cannot read
        print(f'{task.name}: {why_refused(error)}', file=sys.stderr, flush=True)
        return 1
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f'{task.name}: %(message)s'))
    package = logging.getLogger('miniscope_ros')
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    package.propagate = False
    try:
        return _run(session, stop, task, options)
    except MiniscopeError as error:
        print(f'{task.name}: NOT RECORDED: {error}', file=sys.stderr, flush=True)
        return 1
    finally:
        package.removeHandler(handler)
        rclpy.try_shutdown()
        stop.finish()


def _run(session: SessionFile, stop: Stop, task: Task, options: dict[str, Any]) -> int:
    with ExitStack() as stack:
        with must_start(task.name):  # the first node of a program starts the middleware
            node = SessionNode(session, stop.event, task.name, **options)
        stack.callback(node.destroy_node)
        stack.enter_context(_spinning(node))
        started = stack.enter_context(Programs(session.devices)) if task.programs else None
        graph = stack.enter_context(Graph(f'{task.name}_{os.getpid()}', stop.event))
        if task.start:
            node.ask(task.folder)

        def is_well() -> None:
            if started is not None and (failed := started.failed()):
                raise DeviceError(f'{", ".join(failed)} ended with an error, see above')

        node.run(graph, once=task.once, returns_s=task.returns_s,
                 ends_with_scopes=task.once and len(session.devices) == 1, is_well=is_well)
        return 1 if node.has_failed else 0


@contextmanager
def _spinning(node: SessionNode) -> Iterator[None]:
    """Have the node served by threads of its own."""
    executor = MultiThreadedExecutor(_THREADS)
    executor.add_node(node)
    over = Event()
    thread = Thread(target=_spin, args=(executor, over), name='spin', daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        executor.wake()
        thread.join(_ENDS_S)
        executor.remove_node(node)
        executor.shutdown(_ENDS_S)


def _spin(executor: MultiThreadedExecutor, over: Event) -> None:
    while not over.is_set():
        try:
            executor.spin_once(timeout_sec=0.5)
        except ExternalShutdownException:
            return
        except Exception:
            _log.exception('the executor met an error')
            over.wait(1.0)  # an error that persists must not take all of a core
