# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Requests to the node: none, however malformed, ends an acquisition or delays darkness."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
import logging
import time
from typing import Any

from lifecycle_msgs.srv import ChangeState
from miniscope_ros.daq.control import LIGHTS
from miniscope_ros.node.parameters import one_line, refusal
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.service import Service

_log = logging.getLogger(__name__)

MOST_PARAMETERS = 200
"""The most parameters in one request; the node has about 50."""

LONGEST = 10_000
"""The most characters of a name or a text, and the most values of a list."""

MOST_WAITING = 2000
"""The most requests that wait; a further one is refused at once."""

TURN_S = 0.01
"""How long they are served before all else has its turn [s]."""


def guard_services(
    node: LifecycleNode, state: Callable[[], str], transitions: Callable[[], Mapping[int, str]],
) -> None:
    """
    Let every service of a node answer whatever it is asked.

    state returns the lifecycle state, transitions the numbers and labels of those that lead out
    of it.
    """
    for service in list(node.services):
        if service.srv_type in (SetParameters, SetParametersAtomically):
            ParameterRequests(node, service)
        elif service.srv_type is ChangeState:
            service.callback = partial(_change_state, service.callback, state, transitions)
        else:
            service.callback = partial(_answer, service.srv_name, service.callback)


def _answer(name: str, callback: Callable[[Any, Any], Any], request: Any, response: Any) -> Any:
    """Answer a request; with an empty answer and a line in the log if that raises."""
    try:
        return callback(request, response)
    except Exception as error:
        _log.warning('a request to %s was refused: %s', name, _one_line(error))
        return response


def _change_state(
    change: Callable[[Any, Any], Any], state: Callable[[], str],
    transitions: Callable[[], Mapping[int, str]], request: Any, response: Any,
) -> Any:
    """
    Answer an invalid transition with failure.

    In Jazzy rclpy raises it out of spin and sends no answer, and rcl logs its own text.
    """
    asked, before, possible = request.transition, state(), transitions()
    wanted = one_line(asked.label) or _label(asked.id)
    if asked.label not in possible.values() if asked.label else asked.id not in possible:
        return _refuse_change(wanted, before, response)
    try:
        return change(request, response)
    except Exception as error:
        _log.warning('%s met an error: %s', wanted, _one_line(error))
        return _refuse_change(wanted, before, response)


def _refuse_change(wanted: str, state: str, response: Any) -> Any:
    _log.warning('%s refused: the node %s', wanted, _why_not(wanted, state))
    response.success = False
    return response


_LABELS = {1: 'configure', 2: 'cleanup', 3: 'activate', 4: 'deactivate',
           5: 'shutdown', 6: 'shutdown', 7: 'shutdown'}
_REACHED = {'configure': 'inactive', 'activate': 'active', 'deactivate': 'inactive',
            'cleanup': 'unconfigured', 'shutdown': 'finalized'}


def _label(number: int) -> str:
    return _LABELS.get(number, f'transition {number}')


def _why_not(wanted: str, state: str) -> str:
    if _REACHED.get(wanted) == state:
        return f'is already {state}'
    return f'is {state}'


@dataclass
class _Waiting:
    """A request that is not answered yet."""

    request: Any
    header: Any
    results: list[SetParametersResult] = field(default_factory=list)  # of its first parameters


class ParameterRequests:
    """
    Serves set_parameters, or set_parameters_atomically, of one node.

    Requests that wait are served for a moment in each turn of the executor, parameter by
    parameter, so that a flood of them delays no other service. A request that switches a light off
    is served first; those that came before it and set a light are refused, since they would light
    it again.
    """

    def __init__(self, node: LifecycleNode, service: Service) -> None:
        """Take the place of the service's callback."""
        self._node = node
        self._service = service
        self._waiting: deque[_Waiting] = deque()
        self._dark_waits = False  # one of them is to go dark
        self._more = node.create_guard_condition(self._serve)
        self._reply = service.send_response
        # The executor hands what the callback returns to send_response, with the header that the
        # answer needs. So a request that it took is kept until its turn.
        service.callback = lambda request, response: request
        service.send_response = self._take

    def _take(self, request: Any, header: Any) -> None:
        self._append(_Waiting(request, header))
        self._serve()

    def _append(self, one: _Waiting) -> None:
        dark = _goes_dark(one.request)
        if len(self._waiting) >= MOST_WAITING and not dark:
            self._refuse(one, 'too many requests are waiting')
            return
        self._waiting.append(one)
        self._dark_waits |= dark

    def _serve(self) -> None:
        """Serve requests for a moment, one to go dark first; then the executor has its turn."""
        end = time.monotonic() + TURN_S
        self._gather()
        self._serve_dark()
        while self._waiting:
            if self._advance(self._waiting[0]):
                self._waiting.popleft()
            if time.monotonic() > end:
                break
        if self._waiting:
            self._more.trigger()

    def _gather(self) -> None:
        """Take all requests that have arrived."""
        for _ in range(MOST_WAITING):
            try:
                with self._service.handle:
                    taken = self._service.handle.service_take_request(
                        self._service.srv_type.Request)
            except Exception as error:  # a text that is no UTF-8, for one
                _log.warning('a request cannot be read: %s', _one_line(error))
                continue
            request, header = taken if taken is not None else (None, None)
            if header is None:
                return
            self._append(_Waiting(request, header))

    def _serve_dark(self) -> None:
        """Serve the newest request that switches a light off, and refuse what it supersedes."""
        if not self._dark_waits:
            return
        self._dark_waits = False
        newest = max(number for number, one in enumerate(self._waiting)
                     if _goes_dark(one.request))
        before = [self._waiting.popleft() for _ in range(newest + 1)]
        dark = before.pop()
        while not self._advance(dark):
            pass
        kept = []
        for one in before:
            if _sets_light(one.request):
                self._refuse(one, 'superseded by a later request to go dark')
            else:
                kept.append(one)
        self._waiting.extendleft(reversed(kept))

    def _advance(self, one: _Waiting) -> bool:
        """Set the next parameter of a request, or all together; answer it if it is done."""
        messages = list(one.request.parameters)
        if len(messages) > MOST_PARAMETERS:
            self._refuse(one, f'{len(messages)} parameters in one request; at most '
                              f'{MOST_PARAMETERS} are taken')
            return True
        if self._service.srv_type is SetParametersAtomically:
            self._reply(SetParametersAtomically.Response(result=self._set(messages)), one.header)
            return True
        if len(one.results) < len(messages):
            one.results.append(self._set([messages[len(one.results)]]))
        if len(one.results) < len(messages):
            return False
        self._reply(SetParameters.Response(results=one.results), one.header)
        return True

    def _refuse(self, one: _Waiting, reason: str) -> None:
        """Refuse a request, or what is left of it."""
        _log.warning('a request to set parameters was refused: %s', reason)
        left = len(one.request.parameters) - len(one.results)
        refused = refusal([reason])
        self._reply(
            SetParameters.Response(results=one.results + [refused] * left)
            if self._service.srv_type is SetParameters
            else SetParametersAtomically.Response(result=refused), one.header)

    def _set(self, messages: Sequence[ParameterMessage]) -> SetParametersResult:
        try:
            return self._node.set_parameters_atomically(list(_read(messages)))
        except Exception as error:
            _log.warning('a request was refused: %s', _one_line(error))
            return refusal([_one_line(error)])


def _read(messages: Sequence[ParameterMessage]) -> Iterator[Parameter]:
    """Yield parameters; ValueError names one that is too long or of a type that there is not."""
    for message in messages:
        if len(message.name) > LONGEST:
            raise ValueError(f'no parameter has a name of {len(message.name)} characters')
        if (length := _length(message.value)) > LONGEST:
            raise ValueError(
                f'{message.name} cannot be set: its value has the length {length}; at most '
                f'{LONGEST} are taken')
        try:
            yield Parameter.from_parameter_msg(message)
        except Exception as error:
            raise ValueError(
                f'{message.name} cannot be set: its value is of type {message.value.type}, '
                'which does not exist') from error


def _length(value: Any) -> int:
    """Return how many characters or list entries a value has; it takes no longer than that."""
    lists = (value.byte_array_value, value.bool_array_value, value.integer_array_value,
             value.double_array_value, value.string_array_value)
    return max(len(value.string_value), *map(len, lists), sum(map(len, value.string_array_value)))


def _sets_light(request: Any) -> bool:
    return any(message.name in LIGHTS for message in request.parameters)


def _goes_dark(request: Any) -> bool:
    """Return whether a request sets lights, all of them to 0."""
    lights = [message.value for message in request.parameters if message.name in LIGHTS]
    return bool(lights) and all(
        value.type in (2, 3) and value.integer_value == 0 and value.double_value == 0.0
        for value in lights)


def _one_line(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__
