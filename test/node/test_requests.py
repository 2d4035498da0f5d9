# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Requests that are malformed or too many: the acquisition goes on, and dark comes first."""
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from listening import Listener
from node_process import NodeProcess, scope_node
import pytest
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)

FLOOD = 40  # requests of so many parameters each
LARGE = 150
Scope = tuple[NodeProcess, Listener]


@pytest.fixture(scope='module')
def scope() -> Iterator[Scope]:
    """Run a streaming node."""
    with scope_node({'source': 'simulated', 'led': 20.0}) as node, Listener() as ear:
        ear.wait_for(ear.listen('frame_info'))
        yield node, ear


@pytest.fixture
def ear(scope: Scope) -> Iterator[Listener]:
    """Listen to a node whose acquisition goes on while the test runs."""
    ear = scope[1]
    frames = ear.listen('frame_info', keep=lambda frame: frame.frame_index)
    ear.wait_for(frames)
    yield ear
    ear.wait_for(frames, len(frames) + 5)
    # It is the same acquisition; a busy subscriber may miss some of it.
    assert all(earlier < later for earlier, later in pairwise(frames))
    ear.hush(frames)


def number(name: str, value: float) -> Parameter:
    """Return a parameter as a request carries it."""
    return Parameter(name=name, value=ParameterValue(
        type=ParameterType.PARAMETER_DOUBLE, double_value=value))


def of_type(kind: int) -> Parameter:
    """Return the LED with a value of some type and without content."""
    return Parameter(name='led', value=ParameterValue(type=kind))


@pytest.mark.parametrize('kind', [
    77, 255, 10, ParameterType.PARAMETER_NOT_SET, ParameterType.PARAMETER_BYTE_ARRAY,
    ParameterType.PARAMETER_DOUBLE_ARRAY, ParameterType.PARAMETER_STRING_ARRAY])
def test_values_of_impossible_types_are_refused(scope: Scope, ear: Listener, kind: int) -> None:
    node, _ = scope
    before = len(node.said('WARN.*refused'))
    each = ear.call('set_parameters', SetParameters, SetParameters.Request(
        parameters=[number('display.delta_f_maximum', 0.3), of_type(kind)])).results
    assert [result.successful for result in each] == [True, False]
    assert 'led cannot be' in each[1].reason
    together = ear.call(
        'set_parameters_atomically', SetParametersAtomically,
        SetParametersAtomically.Request(parameters=[of_type(kind)])).result
    assert not together.successful and together.reason == each[1].reason
    node.wait_for_output('WARN.*refused', before + 2)
    assert len(node.said('WARN.*refused')) == before + 2
    assert ear.get('led') == 20.0


@pytest.mark.parametrize(('service', 'request_type', 'request_fields'), [
    ('get_parameters', GetParameters, {'names': ['', 'no such', 'x' * 10_000]}),
    ('get_parameter_types', GetParameterTypes, {'names': ['no such']}),
    ('describe_parameters', DescribeParameters, {'names': ['no such', '\n']}),
    ('list_parameters', ListParameters, {'prefixes': ['..', ''], 'depth': 2**63}),
    ('set_parameters', SetParameters, {'parameters': [Parameter(name='')]}),
    ('set_parameters', SetParameters, {'parameters': [number('x' * 10_000, 1.0)]}),
    ('set_parameters', SetParameters, {'parameters': [number('led', float('nan'))]}),
    ('set_parameters', SetParameters, {'parameters': []}),
    ('set_parameters_atomically', SetParametersAtomically, {'parameters': []}),
])
def test_odd_requests_are_answered(
        ear: Listener, service: str, request_type: Any, request_fields: dict[str, Any]) -> None:
    assert ear.call(service, request_type, request_type.Request(**request_fields)) is not None


@pytest.mark.parametrize(('transition', 'said'), [
    (Transition(id=200), 'transition 200 refused: the node is active'),
    (Transition(id=Transition.TRANSITION_ACTIVATE), 'activate refused: the node is already act'),
    (Transition(label='go\n there!'), 'go there! refused: the node is active')])
def test_a_transition_that_cannot_be_is_one_warning(
        scope: Scope, ear: Listener, transition: Transition, said: str) -> None:
    node, _ = scope
    assert not ear.call(
        'change_state', ChangeState, ChangeState.Request(transition=transition)).success
    node.wait_for_output(f'WARN.*{said}')


def test_a_request_without_end_is_refused_as_a_whole(ear: Listener) -> None:
    many = [number('led', 1.0 + 0.001 * n) for n in range(20_000)]
    results = ear.call(
        'set_parameters', SetParameters, SetParameters.Request(parameters=many)).results
    assert len(results) == len(many) and not any(result.successful for result in results)
    assert '20000 parameters in one request' in results[0].reason
    assert ear.get('led') == 20.0


@pytest.mark.parametrize('given', [
    Parameter(name=200_000 * 'x'),
    Parameter(name='frame_id', value=ParameterValue(
        type=ParameterType.PARAMETER_STRING, string_value=200_000 * 'x')),
    Parameter(name='table_header', value=ParameterValue(
        type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=[50_000 * 'x'] * 5)),
    Parameter(name='led', value=ParameterValue(
        type=ParameterType.PARAMETER_DOUBLE_ARRAY, double_array_value=[0.0] * 200_000))])
def test_a_value_without_end_is_refused_in_few_words(ear: Listener, given: Parameter) -> None:
    result, = ear.call('set_parameters', SetParameters, SetParameters.Request(
        parameters=[given])).results
    assert not result.successful and len(result.reason) < 200


def test_an_unchanged_dump_can_be_loaded(ear: Listener) -> None:
    names = sorted(ear.parameters())
    assert {'source', 'max_led', 'frame_rate', 'use_sim_time'} <= set(names)
    values = ear.call('get_parameters', GetParameters, GetParameters.Request(names=names)).values
    dump = [Parameter(name=name, value=value)
            for name, value in zip(names, values, strict=True)]
    results = ear.call(
        'set_parameters', SetParameters, SetParameters.Request(parameters=dump)).results
    assert [(name, result.reason) for name, result in zip(names, results, strict=True)
            if not result.successful] == []
    together = ear.call('set_parameters_atomically', SetParametersAtomically,
                        SetParametersAtomically.Request(parameters=dump)).result
    assert together.successful, together.reason


def test_every_refusal_is_one_warning(scope: Scope, ear: Listener) -> None:
    node, _ = scope
    for name, value in (('led', 101.0), ('max_led', 50.0), ('source', 'replay'),
                        ('display__minimum', 255), ('replay__path', '/x'), ('nothing', 1)):
        before = len(node.said('WARN.*refused'))
        result, = ear.set_each(**{name: value})
        assert not result.successful
        line = node.wait_for_output('WARN.*refused', before + 1)
        assert result.reason in line
        assert len(node.said('WARN.*refused')) == before + 1
    assert 'there is no parameter replay.path with this source: it is one of source replay' in (
        ear.set_each(replay__path='/x')[0].reason)


@pytest.mark.parametrize('name, value', [
    ('display__mode', 'x' * 100_000), ('display__mode', 'raw\nraw'), ('x' * 100_000, 1)])
def test_a_refusal_is_one_line_whatever_was_asked_for(
        scope: Scope, ear: Listener, name: str, value: object) -> None:
    node, _ = scope
    before = len(node.said('WARN.*refused'))
    result, = ear.set_each(**{name: value})
    assert not result.successful and len(result.reason) < 2000 and '\n' not in result.reason
    assert result.reason in node.wait_for_output('WARN.*refused', before + 1)


def flood(other: Listener) -> list[Any]:
    """Send many large requests at once and return their answers to come."""
    other.set_each(display__delta_f_maximum=0.3)  # the client is known
    values = [number('display.delta_f_maximum', 0.2 + 0.001 * n) for n in range(LARGE)]
    return [other.ask('set_parameters', SetParameters, SetParameters.Request(parameters=values))
            for _ in range(FLOOD)]


def unanswered(answers: list[Any]) -> int:
    """Return how many requests wait."""
    return sum(not answer.done() for answer in answers)


def test_darkness_overtakes_a_flood(ear: Listener) -> None:
    ear.set_each(led=20.0)  # the client is known
    with Listener() as other:
        answers = flood(other)
        result, = ear.set_each(led=0.0)
        # One after the other it would be the last.
        assert result.successful and unanswered(answers) > FLOOD // 4
        for answer in answers:
            assert all(result.successful for result in other.answer(answer).results)
    assert ear.get('led') == 0.0
    assert ear.set_together(led=20.0).successful


def test_a_later_request_to_go_dark_supersedes_light(ear: Listener) -> None:
    with Listener() as other:
        answers = flood(other)
        lit, dark = (other.ask('set_parameters', SetParameters, SetParameters.Request(
            parameters=[number('led', value)])) for value in (30.0, 0.0))
        assert other.answer(dark).results[0].successful
        refused, = other.answer(lit).results
        assert not refused.successful and 'superseded' in refused.reason
        assert ear.get('led') == 0.0
        for answer in answers:
            other.answer(answer)
    assert ear.get('led') == 0.0
    assert ear.set_together(led=20.0).successful


def test_a_stop_overtakes_a_flood(scope: Scope) -> None:
    _, ear = scope
    assert ear.state == 'active'
    with Listener() as other:
        answers = flood(other)
        assert ear.change_state('deactivate')
        assert unanswered(answers) > FLOOD // 4
        for answer in answers:
            other.answer(answer)
