# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The action ~/sweep: takes and refuses goals, and ends a sweep for whatever reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from functools import partial
import logging
from pathlib import Path
import time

from miniscope_msgs.action import Sweep as SweepAction
from miniscope_ros.acquisition.states import CaptureState
from miniscope_ros.acquisition.sweep import Sweep
from miniscope_ros.acquisition.sweep_files import SweepFiles
from miniscope_ros.acquisition.sweep_plan import sweep_values, SweepPlan, SWEPT
from miniscope_ros.errors import ConfigurationError, MiniscopeError
from miniscope_ros.node.open_scope import OpenScope
from miniscope_ros.node.parameters import Parameters
from miniscope_ros.node.publishers import Publishers
from miniscope_ros.node.sweep_run import empty_result, SweepRun
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.lifecycle import LifecycleNode

_log = logging.getLogger(__name__)

FOLDER = Path('~/miniscope_sweeps')

_FORMATS = (SweepAction.Goal.FORMAT_TIFF, SweepAction.Goal.FORMAT_NONE)
_KEEPS = (SweepAction.Goal.KEEP_AVERAGE, SweepAction.Goal.KEEP_ALL)


class SweepServer:
    """
    Serves ~/sweep, one goal at a time.

    The parameter keeps the user's value while another one is sent for the sweep: it is what is
    restored. A goal stays accepted while its sweep runs, and is executed when the result is
    there: rclpy's executor would be busy all the time with a callback that waits for it.
    """

    def __init__(
        self, node: LifecycleNode, topics: Publishers, parameters: Parameters,
        scope: Callable[[], OpenScope | None],
    ) -> None:
        """Create the action; scope returns None while the node is unconfigured."""
        self._node = node
        self._topics = topics
        self._parameters = parameters
        self._scope = scope
        self._run: SweepRun | None = None
        # Called in the sweep's thread: the executor sends the result.
        self._over = node.create_guard_condition(self._conclude)
        self._server = ActionServer(
            node, SweepAction, '~/sweep', lambda goal: SweepAction.Result(),
            handle_accepted_callback=self._accept, cancel_callback=self._cancel)

    @property
    def answering(self) -> bool:
        """Return whether a client waits for the result of a sweep."""
        return self._run is not None

    def end(self, reason: str) -> None:
        """End the sweep, if there is one; the old value is in force again on return."""
        run = self._run
        if run is not None:
            run.sweep.end(reason)

    def note_set(self, names: Iterable[str]) -> None:
        """End the sweep of a control that was set: the parameter's value holds."""
        run = self._run
        if run is not None and run.sweep.plan.control in names:
            name = run.sweep.plan.control
            run.sweep.end(f'{name} was set to {self._parameters[name]:g}')

    def close(self, deadline: float) -> None:
        """End the sweep and wait for its thread until a monotonic time [s]; send the result."""
        run = self._run
        if run is not None:
            run.sweep.end('the node ends')
            if run.join(max(0.0, deadline - time.monotonic())):
                self._conclude()

    def destroy(self) -> None:
        """Remove the action."""
        self._server.destroy()

    # Goals, on the executor

    def _accept(self, goal: ServerGoalHandle) -> None:
        """Start a sweep, or refuse it with the reason in the result."""
        try:
            run = self._prepare(goal)
        except Exception as error:  # an error here would end the acquisition
            unforeseen = None if isinstance(error, MiniscopeError) else error
            _log.warning('sweep refused: %s', error, exc_info=unforeseen)
            goal.execute(partial(_answer, empty_result(f'refused: {error}')))
            return
        self._run = run
        self._topics.sweep = run.sweep
        plan = run.sweep.plan
        _log.info('a sweep of %s begins: %d values, %d frames each', plan.control,
                  len(plan.values), plan.frames)
        run.start()

    def _cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        run = self._run
        if run is None or run.goal.goal_id != goal.goal_id:
            return CancelResponse.REJECT
        run.sweep.end('canceled')
        return CancelResponse.ACCEPT

    def _conclude(self) -> None:
        """Send the result of a sweep that is over."""
        run, self._run = self._run, None
        if run is None:
            return
        self._topics.sweep = None
        result, control = run.result, run.sweep.plan.control
        result.restored_value = float(self._parameters[control])
        (_log.info if result.success else _log.warning)(
            'the sweep of %s has ended: %s; %s is %g again', control, result.message, control,
            result.restored_value)
        run.goal.execute(partial(_answer, result))

    # The checks of a goal

    def _prepare(self, goal: ServerGoalHandle) -> SweepRun:
        """Return the sweep of a goal, not started; ConfigurationError says why there is none."""
        scope, request = self._active_scope(), goal.request
        _check_choice('keep', request.keep, _KEEPS)
        _check_choice('format', request.format, _FORMATS)
        plan = self._plan(scope, request)
        info = scope.info
        frame_bytes = info.width * info.height
        plan.check(frame_bytes)
        sweep = Sweep(
            plan, partial(scope.send, plan.control),
            lambda: scope.send(plan.control, float(self._parameters[plan.control])))
        return SweepRun(
            goal, sweep, self._files(request, plan, frame_bytes), self._over.trigger)

    def _active_scope(self) -> OpenScope:
        if self._run is not None:
            raise ConfigurationError(
                f'a sweep of {self._run.sweep.plan.control} is running; cancel it first')
        scope = self._scope()
        if scope is None:
            raise ConfigurationError('the node is not configured; activate it first')
        state = scope.state
        if state is not CaptureState.ACTIVE:
            raise ConfigurationError(f'the node is {state}: frames are taken while it is active')
        return scope

    def _plan(self, scope: OpenScope, request: SweepAction.Goal) -> SweepPlan:
        controls = scope.controls
        _check_choice('control', request.control, [name for name in SWEPT if name in controls])
        values = sweep_values(
            controls[request.control], request.from_value, request.to_value, request.step)
        for value in values:
            # As a user sets it: a whole number for a parameter that is one.
            problems = self._parameters.problems(
                request.control, int(value) if value.is_integer() else value)
            if problems:
                raise ConfigurationError('; '.join(problems))
        return SweepPlan(
            request.control, values, request.frames, keep_all=request.keep == _KEEPS[1])

    def _files(
        self, request: SweepAction.Goal, plan: SweepPlan, frame_bytes: int,
    ) -> SweepFiles | None:
        if request.format == SweepAction.Goal.FORMAT_NONE:
            if plan.keep_all:
                raise ConfigurationError('keep all needs files: set format to tiff')
            return None
        name = self._node.get_fully_qualified_name().strip('/').replace('/', '_')
        now = datetime.now(timezone.utc)
        folder = Path(request.folder) if request.folder else FOLDER
        try:
            # The client may run elsewhere: the files are named by their whole path.
            folder = folder.expanduser().absolute()
        except RuntimeError as error:  # there is no such user, or no home
            raise ConfigurationError(f'folder {folder}: {error}; give an absolute path') from error
        return SweepFiles(
            folder, f'{name}_{now:%Y%m%d-%H%M%S}.{now.microsecond:06d}_'
            f'{plan.control}', plan, frame_bytes)


def _check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    choices = list(choices)
    if value not in choices:
        raise ConfigurationError(
            f"{name} cannot be '{value}': " + (
                f'it is one of {", ".join(choices)}' if choices else
                'this source has no control that can be swept'))


def _answer(result: SweepAction.Result, goal: ServerGoalHandle) -> SweepAction.Result:
    """Bring a goal to the state that fits its result."""
    if result.success:
        goal.succeed()
    elif goal.is_cancel_requested:
        goal.canceled()
    else:
        goal.abort()
    return result
