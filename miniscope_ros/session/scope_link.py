# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What a session asks of one scope node: transitions, parameters, and what it publishes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lifecycle_msgs.msg import Transition, TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetState
from miniscope_msgs.msg import DigitalInputs, FrameInfo, FrameMetadata
from miniscope_ros.errors import DeviceError
from miniscope_ros.session.graph import Graph
from miniscope_ros.session.published import Published
from miniscope_ros.session.session_file import Device
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

NODE_IS_THERE_S = 30.0
TRANSITION_S = 40.0
_ANSWER_S = 10.0
_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_STREAM = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)


class ScopeLink:
    """One scope or camera node of this package, as a session sees and asks it."""

    def __init__(self, graph: Graph, device: Device) -> None:
        """Make the clients; the node need not be there yet."""
        self.device = device
        self.name = device.node
        self.published = Published()
        self.frame_bytes = 0  # bytes of an image; 0: not known
        self.device_type = ''
        self.levels = -1  # of the digital inputs, as a bit mask; -1: not known
        # Called with frame_index and levels of each frame that counts.
        self.on_inputs: Callable[[int, int], None] = lambda frame_index, levels: None
        self.was_active = False  # before the recording
        self.has_ended = False  # during the recording, and may be back
        self.source = ''  # as its parameter says
        self._is_active = False  # during the recording
        self._has_stopped = False  # having been active during the recording
        self._counting = False
        self._known: set[str] = set()  # publishers of the node, and of any before it
        self._current: set[str] = set()
        self._graph = graph
        node = graph.node
        self._change = node.create_client(ChangeState, f'{self.name}/change_state')
        self._state = node.create_client(GetState, f'{self.name}/get_state')
        self._list = node.create_client(ListParameters, f'{self.name}/list_parameters')
        self._get = node.create_client(GetParameters, f'{self.name}/get_parameters')
        self._subscriptions = [
            (node.create_subscription(kind, f'{self.name}/{topic}', take, qos), take)
            for kind, topic, take, qos in (
                (FrameInfo, 'frame_info', self._take_info, _STREAM),
                (FrameMetadata, 'image_raw/metadata', self._take_metadata, _LATCHED),
                (DigitalInputs, 'digital_inputs', self._take_inputs, _LATCHED),
                (TransitionEvent, 'transition_event', self._take_event, _STREAM))]

    def close(self) -> None:
        """Destroy clients and subscriptions."""
        node = self._graph.node
        for client in (self._change, self._state, self._list, self._get):
            node.destroy_client(client)
        for subscription, _ in self._subscriptions:
            node.destroy_subscription(subscription)

    # What it publishes

    def update(self) -> None:
        """Take what has been published since the last time."""
        for subscription, take in self._subscriptions:
            for message in self._graph.take(subscription):
                take(message)

    def forget(self) -> None:
        """Forget the frames of an earlier recording."""
        self.published = Published()
        self.has_ended = False
        self._has_stopped = False
        self._counting = False

    def begin_counting(self, *, joins: bool) -> None:
        """Count frames from now on; joins: the node is active, and stays so."""
        self.forget()
        self._counting = True
        self._is_active = joins

    def end_counting(self) -> None:
        """Count no more."""
        self._counting = False

    def _take_info(self, info: FrameInfo) -> None:
        if info.digital_inputs >= 0:
            self.levels = info.digital_inputs
        if self._counting:
            self.published.add(info)
            self.on_inputs(info.frame_index, info.digital_inputs)

    def _take_metadata(self, metadata: FrameMetadata) -> None:
        self.frame_bytes = metadata.width * metadata.height * (3 if metadata.has_color else 1)
        self.device_type = metadata.device_type

    def _take_inputs(self, inputs: DigitalInputs) -> None:
        self.levels = inputs.levels

    def _take_event(self, event: TransitionEvent) -> None:
        """Note whether the node is active; an event of before the recording may come late."""
        if event.goal_state.label == 'active':
            self._is_active = True
        elif event.goal_state.label == 'inactive' and self._is_active:
            self._is_active = False
            self._has_stopped = self._counting

    # Life cycle

    @property
    def has_played(self) -> bool:
        """Whether it has played a recording, and has come to its end since counting began."""
        return self.source == 'replay' and self._has_stopped

    @property
    def is_there(self) -> bool:
        """
        Whether the node runs.

        One that was killed stays in the graph until DDS misses it, 20 s with Fast DDS, also when
        it has been started again and has ended by then. So the latest one counts.
        """
        present = self._graph.publishers(f'{self.name}/control_changes')
        if present - self._known:
            if self._counting and self._current:
                self.has_ended = self.published.begins_anew = True
            self._current = present - self._known
        self._known |= present
        return bool(self._current & present)

    def await_node(self) -> None:
        """Wait until the node answers requests. Raises DeviceError and Interrupted."""
        self._graph.await_condition(
            lambda: self._change.service_is_ready() and self._state.service_is_ready(),
            NODE_IS_THERE_S, f'there is no node {self.name}')

    def state(self) -> str:
        """Return the state of the node's life cycle. Raises DeviceError without an answer."""
        answer = self._call(self._state, GetState.Request(), 'does not report its state')
        return str(answer.current_state.label)

    def ask(self, transition: str) -> Any:
        """Ask for a transition by its name; return the future of its answer."""
        number = getattr(Transition, f'TRANSITION_{transition.upper()}')
        return self._change.call_async(
            ChangeState.Request(transition=Transition(id=number)))

    def _call(self, client: Any, request: Any, complaint: str) -> Any:
        future = client.call_async(request)
        self._graph.await_condition(future.done, _ANSWER_S, f'{self.name} {complaint}')
        return future.result()

    # Parameters

    def parameters(self) -> dict[str, Any]:
        """Return the values of all parameters. Raises DeviceError without an answer."""
        complaint = 'does not report its parameters'
        self._graph.await_condition(
            lambda: self._list.service_is_ready() and self._get.service_is_ready(),
            _ANSWER_S, f'{self.name} {complaint}')
        names = list(self._call(self._list, ListParameters.Request(), complaint).result.names)
        answers = self._call(self._get, GetParameters.Request(names=names), complaint).values
        values = {name: _plain(parameter_value_to_python(value))
                  for name, value in zip(names, answers, strict=True)}
        self.source = str(values.get('source', ''))
        return values


def change_all(graph: Graph, links: Sequence[ScopeLink], transition: str) -> None:
    """Ask all nodes for a transition at the same time. Raises DeviceError and Interrupted."""
    futures = [(link, link.ask(transition)) for link in links]
    for link, future in futures:
        graph.await_condition(
            future.done, TRANSITION_S, f'{link.name} does not {transition}')
    failed = [link.name for link, future in futures if not future.result().success]
    if failed:
        raise DeviceError(f'{", ".join(failed)} cannot {transition}; the log of the node says '
                          'why')


def darken_all(graph: Graph, links: Sequence[ScopeLink], patience: float) -> list[str]:
    """
    Have all nodes go dark, whatever else happens; return the names of those that may be lit.

    A node that has ended has gone dark by itself. patience is in seconds.
    """
    futures = [(link, link.ask('deactivate')) for link in links if link.is_there]

    def is_over() -> bool:
        return all(future.done() or not link.is_there for link, future in futures)

    graph.pass_time(is_over, patience)
    # One that was not active refuses: then it is dark, too.
    return [link.name for link, future in futures if not future.done() and link.is_there]


def _plain(value: Any) -> Any:
    """Return a parameter's value as JSON has it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return [_plain(part) for part in value]
