# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""One scope as the panel knows it: what it says, and what can be asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetState
from miniscope_msgs.msg import Controls, DigitalInputs, FrameMetadata
from miniscope_ros.panel.controls import Control, make_control, order, visible
from miniscope_ros.panel.diagnosis import Part
from miniscope_ros.panel.light import Light, light_of, LIGHTS
from miniscope_ros.panel.pictures import Pictures
from miniscope_ros.panel.plots import FrameSamples
from miniscope_ros.panel.ros_link import LATCHED, RosLink, UnansweredError
from rcl_interfaces.msg import Parameter
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParametersAtomically,
)
from rclpy.parameter import parameter_value_to_python
from std_srvs.srv import Trigger

SERVICES = ('hard_reset', 'reset_background', 'save_image')
_ASK_S = 6.0
_ATTEMPTS = 3
_SILENT_PERIODS = 3.0
_SHORTEST_SILENCE_S = 3.0


class Scope:
    """
    One scope; to be used in the event loop.

    changed is called with 'state' or 'controls' whenever there is something new to show.
    """

    def __init__(self, link: RosLink, name: str, changed: Callable[[Scope, str], None]) -> None:
        self.name = name
        self.pictures = Pictures(link, name)
        self.samples = FrameSamples(link, name)
        self.controls: dict[str, Control] = {}
        self.state = 'unknown'
        self.problem = ''  # why something of it is not known
        self.present = True
        self.publishers: frozenset[bytes] = frozenset()  # more than one: a name used twice
        self._link = link
        self._changed = changed
        self._refreshing = False
        self._parts: dict[str, Part] = {}
        self._heard_at = asyncio.get_running_loop().time()
        self._sent: dict[str, float] = {}
        self._inputs = -1
        self._metadata: dict[str, Any] = {}
        self._subscriptions = [
            link.subscribe(Controls, f'{name}/controls', self._on_controls, LATCHED),
            link.subscribe(DigitalInputs, f'{name}/digital_inputs', self._on_inputs, LATCHED),
            link.subscribe(
                FrameMetadata, f'{name}/image_raw/metadata', self._on_metadata, LATCHED),
            link.subscribe(TransitionEvent, f'{name}/transition_event', self._on_transition)]
        self._clients = {
            service: link.node.create_client(kind, f'{name}/{service}') for service, kind in (
                ('list_parameters', ListParameters),
                ('describe_parameters', DescribeParameters),
                ('get_parameters', GetParameters),
                ('set_parameters_atomically', SetParametersAtomically),
                ('get_state', GetState), ('change_state', ChangeState),
                *((service, Trigger) for service in SERVICES))}

    def close(self) -> None:
        """Give up everything that is held of ROS."""
        self.pictures.close()
        self.samples.close()
        self._link.remove(*self._subscriptions, *self._clients.values())
        self._subscriptions, self._clients = [], {}

    # What the node says

    def _on_controls(self, message: Any) -> None:
        self._sent = dict(zip(message.names, message.values, strict=True))
        self._changed(self, 'state')

    def _on_inputs(self, message: Any) -> None:
        self._inputs = message.levels
        self._changed(self, 'state')

    def _on_metadata(self, message: Any) -> None:
        self._metadata = {
            'width': message.width, 'height': message.height, 'encoding': message.encoding,
            'rate': message.framerate, 'deviceType': message.device_type}
        self._changed(self, 'state')

    def _on_transition(self, message: Any) -> None:
        self.state = message.goal_state.label
        self._changed(self, 'state')

    def on_diagnostics(self, parts: dict[str, Part]) -> None:
        """Take the statuses of one message on /diagnostics."""
        self._parts = parts
        self._heard_at = asyncio.get_running_loop().time()
        state = parts['device'].values.get('lifecycle state') if 'device' in parts else None
        if state:
            self.state = state
        self._changed(self, 'state')

    def on_parameter_event(self, message: Any) -> None:
        """Take a change of parameters, made by whomever."""
        if message.deleted_parameters or any(
                one.name not in self.controls for one in message.new_parameters):
            self._link.start(self.refresh())
        for parameter in (*message.new_parameters, *message.changed_parameters):
            control = self.controls.get(parameter.name)
            if control is not None:
                self.controls[parameter.name] = control.with_value(
                    parameter_value_to_python(parameter.value))
        self._changed(self, 'controls')
        self._changed(self, 'state')

    # What is known

    @property
    def silent(self) -> bool:
        """Return whether the node has reported nothing for too long."""
        control = self.controls.get('diagnostics_period')
        period = float(control.value) if control is not None else 1.0
        allowed = max(_SHORTEST_SILENCE_S, _SILENT_PERIODS * period)
        return not self.present or (
            asyncio.get_running_loop().time() - self._heard_at > allowed)

    @property
    def lights(self) -> list[str]:
        """Return the names of the parameters that are lights."""
        return [name for name in self.controls if name.startswith(LIGHTS)]

    @property
    def light(self) -> tuple[Light, str]:
        """Return the state of the light, and why."""
        return light_of(self._parts, self._sent, bool(self.lights) or bool(
            [name for name in self._sent if name.startswith(LIGHTS)]), self.silent)

    def as_json(self) -> dict[str, Any]:
        """Return all but controls and pictures, as the page takes it."""
        light, text = self.light
        return {
            'name': self.name, 'state': self.state, 'present': self.present,
            'silent': self.silent, 'problem': self._problem(), 'light': light.value,
            'lightText': text, 'sent': self._sent, 'inputs': self._inputs,
            'metadata': self._metadata, 'seen': self.samples.summary(),
            'services': [name for name in SERVICES if self._has(name)],
            'parts': {name: part.as_json() for name, part in self._parts.items()}}

    @property
    def device_message(self) -> str:
        """Return what the node says of its device."""
        part = self._parts.get('device')
        return part.message if part is not None else ''

    def _has(self, service: str) -> bool:
        client = self._clients.get(service)
        return client is not None and bool(client.service_is_ready())

    def _problem(self) -> str:
        if len(self.publishers) > 1:
            return f'{len(self.publishers)} nodes have the name {self.name}: rename one'
        return self.problem

    def controls_as_json(self) -> list[dict[str, Any]]:
        """Return the controls in the order of the page."""
        return [control.as_json() for control in order(self.controls)]

    # What can be asked of it

    async def refresh(self) -> None:
        """Ask for its state and for all parameters with their descriptors."""
        if self._refreshing:
            return
        self._refreshing = True
        try:
            await self._refresh()
        finally:
            self._refreshing = False

    async def _refresh(self) -> None:
        try:
            await self._ask_for_state()
            names = visible((await self._get(
                'list_parameters', ListParameters.Request())).result.names)
            descriptors = (await self._get('describe_parameters', DescribeParameters.Request(
                names=names))).descriptors
            values = (await self._get('get_parameters', GetParameters.Request(
                names=names))).values
        except UnansweredError as error:
            self.problem = str(error)
        else:
            self.problem = ''
            made = map(make_control, descriptors, values)
            self.controls = {control.name: control for control in made if control is not None}
            self._changed(self, 'controls')
        self._changed(self, 'state')

    async def _ask_for_state(self) -> None:
        self.state = (await self._get('get_state', GetState.Request())).current_state.label

    async def _get(self, service: str, request: Any) -> Any:
        return await self._call(service, request, _ASK_S, _ATTEMPTS)

    async def _call(self, service: str, request: Any, patience: float, attempts: int = 1) -> Any:
        if service not in self._clients:
            raise UnansweredError(f'{self.name} is gone')
        return await self._link.call(self._clients[service], request, patience, attempts)

    async def set_parameters(self, parameters: list[Parameter], patience: float) -> str:
        """Set all or none; return why not, or an empty text."""
        result = (await self._call('set_parameters_atomically', SetParametersAtomically.Request(
            parameters=parameters), patience, attempts=2)).result
        return '' if result.successful else result.reason or 'refused without a reason'

    async def change_state(self, transition: int, patience: float) -> bool:
        """Ask for a transition; return whether it went well."""
        request = ChangeState.Request()
        request.transition.id = transition
        success = bool((await self._call('change_state', request, patience)).success)
        await self._ask_for_state()
        self._changed(self, 'state')
        return success

    async def trigger(self, service: str, patience: float) -> tuple[bool, str]:
        """Call a service without arguments; return whether it went well, and what it says."""
        answer = await self._call(service, Trigger.Request(), patience)
        return bool(answer.success), str(answer.message)
