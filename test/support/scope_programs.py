# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Scope nodes that go wrong in ways of their own; run as a program, the first argument says how.

transition: an exception in a transition; capture: in the capture thread; executor: in a callback;
broken: an executor that always fails; shutdown: in the last transition; stuck: in a C function
that holds the interpreter's lock; context: a program that ends its context before it destroys
the node.
"""
import ctypes
import sys

from miniscope_ros.node import run
from miniscope_ros.node.scope_node import ScopeNode
from miniscope_ros.stop import Stop
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn


class FailingTransition(ScopeNode):
    """Lights up and then fails."""

    def _activate(self) -> None:
        super()._activate()
        print('lit', flush=True)
        raise RuntimeError('a transition that fails')


class FailingCapture(ScopeNode):
    """Loses a publisher that the capture thread needs."""

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        print('lit', flush=True)
        info = next(p for p in self.publishers if p.topic_name.endswith('/frame_info'))
        self.destroy_publisher(info)
        return result


class FailingCallback(ScopeNode):
    """Has a timer whose callback fails."""

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        print('lit', flush=True)
        self.timer = self.create_timer(0.2, self.fail_once)
        return result

    def fail_once(self) -> None:
        self.destroy_timer(self.timer)
        raise RuntimeError('a callback that fails')


class Stuck(ScopeNode):
    """Hangs in C, as the middleware may do when another process dies."""

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        self.timer = self.create_timer(0.2, self.hang)
        return result

    def hang(self) -> None:
        print('lit', flush=True)
        ctypes.PyDLL(None).sleep(1000)


class BrokenExecutor(ScopeNode):
    """Is spun by an executor that fails for ever once the light is on."""

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        print('lit', flush=True)
        run.SingleThreadedExecutor.spin_once = self.spin_in_vain
        return result

    @staticmethod
    def spin_in_vain(executor: object, timeout_sec: float) -> None:
        print('failed again', flush=True)
        raise RuntimeError('an executor that fails')


class FailingShutdown(ScopeNode):
    """Fails in the shutdown transition itself."""

    def trigger_shutdown(self) -> TransitionCallbackReturn:
        raise RuntimeError('a shutdown that fails')


KINDS = {
    'broken': BrokenExecutor, 'shutdown': FailingShutdown,
    'transition': FailingTransition, 'capture': FailingCapture, 'executor': FailingCallback,
    'stuck': Stuck}


def use_a_plain_context() -> None:
    """Use the node as rclpy's own examples use one: a signal ends the context first."""
    rclpy.init()
    stop = Stop()
    node = ScopeNode(stop.event)
    node.trigger_configure()
    node.trigger_activate()
    print('lit', flush=True)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()


if __name__ == '__main__':
    kind = sys.argv.pop(1)
    if kind == 'context':
        use_a_plain_context()
    else:
        run.ScopeNode = KINDS[kind]
        stop = Stop()
        stop.install()
        sys.exit(run.run(stop))
