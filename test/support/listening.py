# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A ROS node that listens to a scope node and asks things of it, with bounded waits."""
from collections.abc import Callable
from threading import Condition, Event, Thread
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition, TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetState
from miniscope_msgs.msg import (
    ControlChange,
    Controls,
    DigitalInputs,
    FrameInfo,
    FrameMetadata,
    OrientationRow,
    SignalMetadata,
    TableMetadata,
)
from node_process import PATIENCE
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
import rclpy
from rclpy.client import Client
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu
from std_srvs.srv import Trigger

# Deep enough for a test's process that is kept waiting by others.
DEPTH = 200
RELIABLE = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(
    depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL)

STREAMS = {
    'image_raw': Image,
    'image_display': Image,
    'image_display/compressed': CompressedImage,
    'camera_info': CameraInfo,
    'frame_info': FrameInfo,
    'imu/data': Imu,
    'orientation_rows': OrientationRow,
}
KEPT = {
    'controls': Controls,
    'control_changes': ControlChange,
    'digital_inputs': DigitalInputs,
    'image_raw/metadata': FrameMetadata,
    'image_display/metadata': FrameMetadata,
    'imu/metadata': SignalMetadata,
    'orientation_rows/metadata': TableMetadata,
}
TRANSITIONS = {
    'configure': Transition.TRANSITION_CONFIGURE,
    'activate': Transition.TRANSITION_ACTIVATE,
    'deactivate': Transition.TRANSITION_DEACTIVATE,
    'cleanup': Transition.TRANSITION_CLEANUP,
    'shutdown': Transition.TRANSITION_ACTIVE_SHUTDOWN,
}


def stamp_ns(stamped: Any) -> int:
    """Return the stamp of a message with a header [ns]."""
    stamp = stamped.header.stamp
    return int(stamp.sec * 1_000_000_000 + stamp.nanosec)


class Heard(list):
    """The messages of one topic, or what was kept of them."""

    matched: Event
    subscription: Subscription


class Listener:
    """Listens and asks; to be used with `with`."""

    def __init__(self, scope: str = '/miniscope') -> None:
        """Listen to the node of that name."""
        self.scope = scope
        self._changed = Condition()
        self._clients: dict[str, Client] = {}
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(
            'listener', context=self._context, start_parameter_services=False,
            enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = Thread(target=self._spin)
        self._thread.start()

    def __enter__(self) -> 'Listener':
        return self

    def __exit__(self, *error: object) -> None:
        rclpy.shutdown(context=self._context)
        self._thread.join()
        self.node.destroy_node()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except Exception:
            # Shut down between two of its steps it complains in many ways.
            if self._context.ok():
                raise

    def in_its_thread(self, job: Callable[..., Any], *given: Any) -> Any:
        """
        Have the thread that spins do it, and return what that returns.

        What is destroyed while it prepares a wait ends it. An action client that asks in another
        thread loses an answer that comes before the client has noted its question.
        """
        return self.answer(self._executor.create_task(job, *given))

    # Topics

    def topic(self, name: str) -> str:
        """Return the full name of one of the node's topics or services."""
        return name if name.startswith('/') else f'{self.scope}/{name}'

    def listen(
        self, name: str, kind: type | None = None, qos: QoSProfile | None = None,
        keep: Callable[[Any], Any] = lambda message: message, raw: bool = False,
    ) -> Heard:
        """
        Return a list to which each message, or what keep makes of it, will be added.

        With raw, messages come as they were serialized.
        """
        kind = kind or {**STREAMS, **KEPT}[name]
        heard = Heard()
        heard.matched = Event()

        def add(message: Any) -> None:
            with self._changed:
                heard.append(keep(message))
                self._changed.notify_all()

        qos = qos or (LATCHED if name in KEPT else RELIABLE)
        heard.subscription = self.node.create_subscription(
            kind, self.topic(name), add, qos, raw=raw, event_callbacks=SubscriptionEventCallbacks(
                matched=lambda info: heard.matched.set()))
        return heard

    def hush(self, *topics: Heard) -> None:
        """Listen to these no more."""
        for heard in topics:
            self.in_its_thread(self.node.destroy_subscription, heard.subscription)

    def wait_for_match(self, *topics: Heard) -> None:
        """Return when publishers of all these topics are connected."""
        for heard in topics:
            assert heard.matched.wait(PATIENCE), f'no publisher of a topic that has {heard!r}'

    def wait_until(self, condition: Callable[[], Any], what: str) -> Any:
        """Return what the condition returns once that is true; it is asked at each message."""
        with self._changed:
            result = self._changed.wait_for(condition, PATIENCE)
        assert result, f'it never came about that {what}'
        return result

    def wait_for(self, heard: Heard, count: int = 1) -> Heard:
        """Return when so many messages were heard."""
        self.wait_until(lambda: len(heard) >= count, f'{count} messages came')
        return heard

    # Services

    def ask(self, name: str, kind: type, request: Any) -> Future:
        """Send a request once its server is there; the answer comes in the future."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self.node.create_client(kind, self.topic(name))
            self._wait_until_known()
        assert client.wait_for_service(PATIENCE), f'there is no service {self.topic(name)}'
        return client.call_async(request)

    def _wait_until_known(self) -> None:
        """
        Return when the node knows all clients made so far.

        An answer to one that it does not know yet is lost, though the request was served. Clients
        become known in the order they were made, so the newest asks until it hears an answer.
        """
        newest = self.node.create_client(GetState, self.topic('get_state'))
        answered = Event()
        deadline = time.monotonic() + PATIENCE
        try:
            assert newest.wait_for_service(PATIENCE), 'the node does not tell its state'
            while not answered.is_set():
                assert time.monotonic() < deadline, 'the node does not tell its state'
                newest.call_async(GetState.Request()).add_done_callback(lambda _: answered.set())
                answered.wait(1.0)
        finally:
            self.in_its_thread(self.node.destroy_client, newest)

    def answer(self, future: Future) -> Any:
        """Return the answer once it has come."""
        done = Event()
        future.add_done_callback(lambda _: done.set())
        assert done.wait(PATIENCE), 'a service has not answered'
        return future.result()

    def call(self, name: str, kind: type, request: Any) -> Any:
        """Return a service's answer."""
        return self.answer(self.ask(name, kind, request))

    def trigger(self, name: str) -> Trigger.Response:
        """Call a service without arguments."""
        return self.call(name, Trigger, Trigger.Request())

    def ask_change(self, transition: str) -> Future:
        """Ask for a transition; see ask."""
        return self.ask('change_state', ChangeState, ChangeState.Request(
            transition=Transition(id=TRANSITIONS[transition])))

    def change_state(self, *transitions: str) -> bool:
        """Go through transitions; return whether all went well."""
        return all(
            self.answer(self.ask_change(transition)).success for transition in transitions)

    def shut_down(self) -> bool:
        """Ask for shutdown by its label, which fits every state."""
        return self.call('change_state', ChangeState, ChangeState.Request(
            transition=Transition(label='shutdown'))).success

    @property
    def state(self) -> str:
        """Return the node's lifecycle state."""
        return self.call('get_state', GetState, GetState.Request()).current_state.label

    def wait_for_state(self, state: str) -> None:
        """Return when the node is in a lifecycle state; heard of or asked for."""
        events = self.listen('transition_event', TransitionEvent, RELIABLE)
        deadline = time.monotonic() + PATIENCE
        while self.state != state:
            left = deadline - time.monotonic()
            assert left > 0, f'the node did not become {state}'
            seen = len(events)
            with self._changed:
                self._changed.wait_for(lambda seen=seen: len(events) > seen, min(left, 1.0))

    # Parameters

    def set_each(self, **values: Any) -> list[SetParametersResult]:
        """Set parameters one by one; two underscores stand for a dot."""
        return self.call('set_parameters', SetParameters, SetParameters.Request(
            parameters=_messages(values))).results

    def set_together(self, **values: Any) -> SetParametersResult:
        """Set all parameters or none; two underscores stand for a dot."""
        return self.call(
            'set_parameters_atomically', SetParametersAtomically, SetParametersAtomically.Request(
                parameters=_messages(values))).result

    def get(self, name: str) -> Any:
        """Return a parameter's value."""
        values = self.call('get_parameters', GetParameters, GetParameters.Request(
            names=[name])).values
        return parameter_value_to_python(values[0])

    def parameters(self) -> set[str]:
        """Return the names of all parameters."""
        return set(self.call('list_parameters', ListParameters,
                             ListParameters.Request()).result.names)

    def describe(self, *names: str) -> list[ParameterDescriptor]:
        """Return the descriptors of parameters."""
        return self.call('describe_parameters', DescribeParameters, DescribeParameters.Request(
            names=list(names))).descriptors


def _messages(values: dict[str, Any]) -> list[Any]:
    return [
        Parameter(name.replace('__', '.'), value=value).to_parameter_msg()
        for name, value in values.items()]


def lights(changes: Heard) -> list[tuple[float, int]]:
    """Return value and reason of each change of the LED, in order."""
    return [(c.value, c.reason) for c in changes if c.control == 'led']


def is_dark(changes: Heard) -> bool:
    """Whether the light was made dark last of all."""
    return bool(changes) and lights(changes)[-1] == (0.0, ControlChange.REASON_STOP)


def diagnosis(ear: Listener, heard: Heard) -> dict[str, DiagnosticStatus]:
    """Return what the node says in its next diagnostics, by part; heard are all diagnostics."""
    prefix = f'{ear.scope.strip("/")}: '
    now = time.time_ns()

    def latest() -> dict[str, DiagnosticStatus]:
        # Before now: may have been on its way for a while.
        return {
            status.name.removeprefix(prefix): status
            for report in heard if stamp_ns(report) > now for status in report.status
            if status.name.startswith(prefix)}

    return ear.wait_until(latest, 'diagnostics came')
