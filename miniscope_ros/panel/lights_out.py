# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The button that makes scopes dark in every state."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from lifecycle_msgs.msg import Transition
from miniscope_ros.panel.light import Light
from miniscope_ros.panel.ros_link import UnansweredError
from miniscope_ros.panel.scope import Scope
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue

_SET_S = 3.0
_DEACTIVATE_S = 4.0
_CONFIRM_S = 4.0
_STEP_S = 0.05
_BY_HAND = 'unplug it, or end its node and call `lights_off`'


async def lights_out(scopes: Iterable[Scope]) -> tuple[bool, str]:
    """Make scopes dark, all at once; return whether all are, and what was done."""
    outcomes = await asyncio.gather(*(_darken(scope) for scope in scopes))
    if not outcomes:
        return False, 'there is no scope whose light could be switched off'
    return all(done for done, _ in outcomes), '; '.join(text for _, text in outcomes)


async def _darken(scope: Scope) -> tuple[bool, str]:
    if not scope.present:
        return False, f'{scope.name}: THE LIGHT MAY BE ON. Its node is gone: {_BY_HAND}'
    if not scope.controls and not scope.problem:
        await scope.refresh()
    if scope.light[0] is Light.NONE:
        return True, f'{scope.name} has no light'
    problem = await _set_to_zero(scope)
    done = 'set to 0'
    if problem:
        done = 'deactivated'
        failure = await _deactivate(scope)
        if failure:
            return False, (f'{scope.name}: THE LIGHT MAY BE ON. It could not be set to 0 '
                           f'({problem}) and not be deactivated ({failure}): {_BY_HAND}')
    return await _confirm(scope, done)


async def _set_to_zero(scope: Scope) -> str:
    zero = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=0.0)
    names = scope.lights or ['led']
    try:
        return await scope.set_parameters(
            [Parameter(name=name, value=zero) for name in names], _SET_S)
    except UnansweredError as error:
        return str(error)


async def _deactivate(scope: Scope) -> str:
    try:
        if await scope.change_state(Transition.TRANSITION_DEACTIVATE, _DEACTIVATE_S):
            return ''
    except UnansweredError as error:
        return str(error)
    if scope.state in ('unconfigured', 'inactive', 'finalized'):
        return ''
    return f'the node refuses to deactivate in state {scope.state}'


async def _confirm(scope: Scope, done: str) -> tuple[bool, str]:
    """Wait until the node reports the light dark."""
    deadline = asyncio.get_running_loop().time() + _CONFIRM_S
    while asyncio.get_running_loop().time() < deadline:
        light, text = scope.light
        if light in (Light.DARK, Light.NONE):
            return True, f'{scope.name}: {done}, dark'
        if light is Light.CLOSED:
            return True, f'{scope.name}: {done}; {text}'
        await asyncio.sleep(_STEP_S)
    light, text = scope.light
    return False, f'{scope.name}: {done}, but the light is {light.value}: {text}'
