# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The panel's node: ROS in a thread of its own, everything else in the event loop.

Callbacks of subscriptions are handed to the event loop, so the state of the panel is read and
written in one thread only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
import contextlib
from threading import Thread
from typing import Any

from miniscope_ros.errors import MiniscopeError
from miniscope_ros.watch.middleware import must_start, why_refused
import rclpy
from rclpy.client import Client
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription

LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)

_STEP_S = 0.02  # time between two checks whether a service is there


class UnansweredError(MiniscopeError):
    """A service is absent, or did not answer in time."""


class NotStartedError(MiniscopeError):
    """ROS refuses to start."""


class RosLink:
    """The node of the panel; to be made and closed in a running event loop."""

    def __init__(self, name: str = 'panel', arguments: list[str] | None = None) -> None:
        """Create the node and let a thread execute it; arguments are those of ROS."""
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()  # the loop alone would not keep them
        self._context = rclpy.Context()
        with must_start(name):
            try:
                rclpy.init(args=arguments, context=self._context,
                           signal_handler_options=SignalHandlerOptions.NO)
            except Exception as error:  # arguments that ROS cannot read
                raise NotStartedError(why_refused(error)) from error
            self.node: Node = rclpy.create_node(
                name, context=self._context, start_parameter_services=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = Thread(target=self._spin, name='ros', daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while self._context.ok():
            try:
                self._executor.spin_once(timeout_sec=1.0)
            except ExternalShutdownException:
                return
            except Exception as error:
                # An entity that was destroyed meanwhile makes rclpy raise; the panel goes on.
                if self._context.ok():
                    self.node.get_logger().warning(f'the panel goes on after: {error}')

    async def close(self) -> None:
        """End the thread and remove the node."""
        rclpy.shutdown(context=self._context)
        await self._loop.run_in_executor(None, self._thread.join, 2.0)
        self.node.destroy_node()

    def post(self, job: Callable[..., object], *given: Any) -> None:
        """Have the event loop call a function; may be called in any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the panel ends
            self._loop.call_soon_threadsafe(job, *given)

    def start(self, job: Coroutine[Any, Any, None]) -> None:
        """Start a task in the event loop; its error is logged."""
        task = self._loop.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.node.get_logger().error(f'the panel met an error: {task.exception()!r}')

    def subscribe(
        self, kind: type, topic: str, callback: Callable[[Any], object],
        qos: QoSProfile | int = RELIABLE,
    ) -> Subscription:
        """Subscribe to a topic; the callback is called in the event loop."""
        return self.node.create_subscription(
            kind, topic, lambda message: self.post(callback, message), qos)

    def remove(self, *entities: Any) -> None:
        """Destroy subscriptions, clients and publishers in the thread that executes the node."""
        def destroy() -> None:
            for entity in entities:
                if isinstance(entity, Subscription):
                    self.node.destroy_subscription(entity)
                elif isinstance(entity, Client):
                    self.node.destroy_client(entity)
                else:
                    self.node.destroy_publisher(entity)

        self._executor.create_task(destroy)

    async def call(
        self, client: Client, request: Any, patience: float, attempts: int = 1,
    ) -> Any:
        """
        Return a service's answer. Raises UnansweredError if none comes within patience [s].

        More than one attempt is for requests that may be served twice: an answer is lost where
        the server does not know its client yet.
        """
        try:
            return await self._call(client, request, patience, attempts)
        except InvalidHandle as error:
            raise UnansweredError(f'{client.srv_name} is gone') from error

    async def _call(self, client: Client, request: Any, patience: float, attempts: int) -> Any:
        deadline = self._loop.time() + patience
        while not client.service_is_ready():
            if self._loop.time() > deadline:
                raise UnansweredError(f'there is no service {client.srv_name}')
            await asyncio.sleep(_STEP_S)
        for _ in range(attempts):
            left = deadline - self._loop.time()
            try:
                return await asyncio.wait_for(
                    self._ask(client, request), max(left, _STEP_S) if attempts == 1
                    else patience / attempts)
            except asyncio.TimeoutError:
                continue
        raise UnansweredError(f'{client.srv_name} did not answer within {patience:g} s')

    async def _ask(self, client: Client, request: Any) -> Any:
        answered = self._loop.create_future()

        def settle(future: Any) -> None:
            if not answered.done():
                error = future.exception()
                if error is not None:
                    answered.set_exception(error)
                else:
                    answered.set_result(future.result())

        asked = client.call_async(request)
        asked.add_done_callback(lambda future: self.post(settle, future))
        try:
            return await answered
        finally:
            client.remove_pending_request(asked)
