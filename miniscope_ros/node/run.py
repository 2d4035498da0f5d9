# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the node: spins in a second thread, waits in the main one, ends in order."""

from __future__ import annotations

import logging
import math
import sys
from threading import Thread
import time

import cv2
from miniscope_ros.node.logging_bridge import RosHandler
from miniscope_ros.node.scope_node import ScopeNode
from miniscope_ros.stop import STALLED_STATUS, Stop
from miniscope_ros.watch.middleware import must_start, why_refused
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

_log = logging.getLogger(__name__)

_JOIN = 3.0
_END = 3.4  # [s] after the wish to end: then nobody is waited for any more, to be over in 4
_REST_S = (0.05, 1.0)  # after an error of the executor, doubled each time until it works again
_FINALIZED_S = 1.0  # a node that was shut down stays in the graph for this time
_ANSWER_S = 0.3  # a result is not acknowledged: it gets this time to arrive
_REPEAT_S = 10.0  # the shortest time between two log messages of the same error


def run(stop: Stop) -> int:
    """Run the node until stop is asked for; return the exit status."""
    # One image at a time is processed: threads of OpenCV's own would only cost.
    cv2.setNumThreads(1)
    try:
        with must_start('scope_node'):
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:
        return _refuse(error)
    try:
        return _run_node(stop)
    finally:
        rclpy.try_shutdown()


def _refuse(error: Exception) -> int:
    """Say in one line why the node cannot run."""
    print(f'scope_node: {why_refused(error)}', file=sys.stderr)
    return 1


def _run_node(stop: Stop) -> int:
    try:
        with must_start('scope_node'):
            node = ScopeNode(stop.event)
    except Exception as error:  # rclpy reports an invalid value by several types of exception
        return _refuse(error)
    handler = RosHandler(node.get_logger())
    package = logging.getLogger('miniscope_ros')
    package.addHandler(handler)
    package.setLevel(logging.DEBUG)  # the ROS log has levels of its own
    package.propagate = False
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = Thread(target=_spin, args=(executor, node, stop), name='spin', daemon=True)
    spinner.start()
    deadline = math.inf
    try:
        node.start()
        stop.wait()
        deadline = time.monotonic() + _END
        node.wake()
        spinner.join(_JOIN)
    finally:
        sweeping = node.sweeps.answering
        node.end(deadline)
        if sweeping:
            _send_answers(executor)
        node.watch.finish()
        if not stop.stalled:  # else it is started again, and goes on with what was set
            node.left_values.remove()
        executor.remove_node(node)
        package.removeHandler(handler)
        node.destroy_node()
    if node.watch.left_lit or node.light_may_be_on():
        # The words may have come from a thread that the log was closed to.
        return 1
    return STALLED_STATUS if stop.stalled else 0


def _send_answers(executor: SingleThreadedExecutor) -> None:
    """Let a client have the result of a sweep that the end of the node has ended."""
    try:
        end = time.monotonic() + _ANSWER_S
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=_ANSWER_S / 10)
    except Exception as error:
        _log.warning('the result of a sweep could not be sent: %s', error)


def _spin(executor: SingleThreadedExecutor, node: ScopeNode, stop: Stop) -> None:
    rest, told = _REST_S[0], -math.inf
    finalized = math.inf
    while not stop.event.is_set():
        if node.finalized:
            # No transition leads out of this state; its client may still read it.
            finalized = min(finalized, time.monotonic())
            if time.monotonic() > finalized + _FINALIZED_S:
                stop.request()
        try:
            executor.spin_once(timeout_sec=1.0)
        except ExternalShutdownException:
            stop.request()
        except Exception as error:
            # After any error the light goes dark, and the node stays to report the error.
            log = time.monotonic() > told + _REPEAT_S
            told = time.monotonic() if log else told
            node.fail(error, log=log)
            stop.event.wait(rest)
            rest = min(2 * rest, _REST_S[1])
        else:
            rest = _REST_S[0]
