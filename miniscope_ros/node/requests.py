# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Requests to the node: none, however malformed, ends an acquisition or delays darkness."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
import logging
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


class ParameterRequests:
    """
    Serves set_parameters, or set_parameters_atomically, of one node.

    Requests that wait are served one in each turn of the executor, so that a flood of them delays
    no other service. A request that switches a light off is served first; those that came before
    it and set a light are refused, since they would light it again.
    """

    def __init__(self, node: LifecycleNode, service: Service) -> None:
        """Take the place of the service's callback."""
        self._node = node
        self._service = service
        self._waiting: deque[tuple[Any, Any]] = deque()  # requests with their headers
        self._dark_waits = False  # one of them is to go dark
        self._more = node.create_guard_condition(self._serve)
        self._reply = service.send_response
        # The executor hands what the callback returns to send_response, with the header that the
        # answer needs. So a request that it took is kept until its turn.
        service.callback = lambda request, response: request
        service.send_response = self._take

    def _take(self, request: Any, header: Any) -> None:
        self._append(request, header)
        self._serve()

    def _append(self, request: Any, header: Any) -> None:
        dark = _goes_dark(request)
        if len(self._waiting) >= MOST_WAITING and not dark:
            self._refuse(request, header, 'too many requests are waiting')
            return
        self._waiting.append((request, header))
        self._dark_waits |= dark

    def _serve(self) -> None:
        """Serve one request, the one to go dark first; then the executor has its turn."""
        self._gather()
        if not self._serve_dark() and self._waiting:
            self._send(*self._waiting.popleft())
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
            self._append(request, header)

    def _serve_dark(self) -> bool:
        """
        Serve the newest request that switches a light off, and refuse what it supersedes.

        Returns False if there is none.
        """
        if not self._dark_waits:
            return False
        self._dark_waits = False
        newest = max(number for number, (request, _) in enumerate(self._waiting)
                     if _goes_dark(request))
        before = [self._waiting.popleft() for _ in range(newest + 1)]
        self._send(*before.pop())
        kept = []
        for request, header in before:
            if _sets_light(request):
                self._refuse(request, header, 'superseded by a later request to go dark')
            else:
                kept.append((request, header))
        self._waiting.extendleft(reversed(kept))
        return True

    def _send(self, request: Any, header: Any) -> None:
        self._reply(self._answer(request), header)

    def _refuse(self, request: Any, header: Any, reason: str) -> None:
        _log.warning('a request to set parameters was refused: %s', reason)
        answer = self._make_answer(
            [refusal([reason]) for _ in request.parameters], refusal([reason]))
        self._reply(answer, header)

    def _answer(self, request: Any) -> Any:
        """Return the answer to a request; never raises."""
        messages = list(request.parameters)
        if len(messages) > MOST_PARAMETERS:
            reason = (f'{len(messages)} parameters in one request; at most {MOST_PARAMETERS} are '
                      'taken')
            _log.warning('a request was refused: %s', reason)
            return self._make_answer([refusal([reason]) for _ in messages], refusal([reason]))
        if self._service.srv_type is SetParameters:
            return self._make_answer([self._set([message]) for message in messages], None)
        return self._make_answer([], self._set(messages))

    def _make_answer(
        self, each: Sequence[SetParametersResult], together: SetParametersResult | None,
    ) -> Any:
        if self._service.srv_type is SetParameters:
            return SetParameters.Response(results=list(each))
        return SetParametersAtomically.Response(result=together)

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
