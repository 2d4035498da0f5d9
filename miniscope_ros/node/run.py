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
from miniscope_ros.stop import Stop
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

_JOIN = 3.0
_END = 3.4  # [s] after the wish to end: then nobody is waited for any more, to be over in 4


def run(stop: Stop) -> int:
    """Run the node until stop is asked for; return the exit status."""
    # One image at a time is processed: threads of OpenCV's own would only cost.
    cv2.setNumThreads(1)
    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:
        return _refuse(error)
    try:
        return _run_node(stop)
    finally:
        rclpy.try_shutdown()


def _refuse(error: Exception) -> int:
    """Say in one line why the node cannot run."""
    print(f'scope_node: {" ".join(str(error).split())}', file=sys.stderr)
    return 1


def _run_node(stop: Stop) -> int:
    try:
        node = ScopeNode(stop.event)
    except Exception as error:  # rclpy, too, has its ways to say that a value is no good
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
        node.end(deadline)
        executor.remove_node(node)
        package.removeHandler(handler)
        node.destroy_node()
    return 0


def _spin(executor: SingleThreadedExecutor, node: ScopeNode, stop: Stop) -> None:
    while not stop.event.is_set():
        try:
            executor.spin_once(timeout_sec=1.0)
        except ExternalShutdownException:
            stop.request()
        except Exception as error:
            # Whatever it was, the light goes dark and the node stays to tell of it.
            node.fail(error)
