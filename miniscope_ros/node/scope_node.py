# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The lifecycle node: wires parameters, acquisition, topics and monitoring together."""

from __future__ import annotations

from collections.abc import Callable
import logging
from threading import Event
from typing import Any

from miniscope_ros.acquisition.light_guard import possibly_lit
from miniscope_ros.errors import Interrupted, MiniscopeError
from miniscope_ros.node.auto_start import AutoStart
from miniscope_ros.node.camera_info import fit_camera_info, load_camera_info
from miniscope_ros.node.declarations import declare_parameters
from miniscope_ros.node.environment import (
    describe,
    describe_darkness,
    follows_clock,
    make_clock,
    make_transforms,
)
from miniscope_ros.node.monitor import Monitor, Observation
from miniscope_ros.node.open_scope import collect_garbage, OpenScope
from miniscope_ros.node.parameters import Parameters
from miniscope_ros.node.publishers import Publishers
from miniscope_ros.node.qos import wait_for_acknowledgement
from miniscope_ros.node.requests import guard_services
from miniscope_ros.node.services import Services
from miniscope_ros.node.settings import topic_settings
from miniscope_ros.node.surroundings import Surroundings
from miniscope_ros.node.sweep_server import SweepServer
from miniscope_ros.node.terminal import Terminal
from miniscope_ros.sources.registry import reset_device
from miniscope_ros.watch.left_values import LeftValues
from miniscope_ros.watch.watch import Watch
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

_log = logging.getLogger(__name__)


class ScopeNode(LifecycleNode):  # type: ignore[misc]
    """The scope node; see the README for its topics, parameters and services."""

    _is_complete = False  # some versions of rclpy destroy a node that could not be made

    def __init__(self, stop: Event) -> None:
        """
        Declare the parameters; create topics, services and actions.

        Raises ConfigurationError for an invalid value that was given at start. When stop is set,
        a transition no longer waits for the device.
        """
        super().__init__('miniscope', automatically_declare_parameters_from_overrides=True)
        self._stop = stop
        self._error = ''  # why the last transition failed
        self._failure: MiniscopeError | None = None  # of the last transition
        self._scope: OpenScope | None = None
        self._settings = Parameters(self, self._stage)
        self._device_type = declare_parameters(self, self._settings)
        self.watch = Watch(
            self.light_may_be_on, stop, self._device_type.name if self._device_type else '',
            self._settings['device_catalog'])
        self.left_values = LeftValues()
        terminal = Terminal()
        # Called in the capture thread: the executor leaves the active state.
        self._stopped_guard = self.create_guard_condition(self._deactivate_by_itself)
        self._topics = Publishers(
            self, topic_settings(self._settings.values), self._stopped_guard.trigger, terminal)
        self._surroundings = Surroundings(
            self, lambda: follows_clock(self, self._settings['source']))
        self._monitor = Monitor(
            self, self._settings['diagnostics_period'], self._observe, terminal,
            self._surroundings)
        Services(
            self, self._topics, lambda: self._settings.values, lambda: self._scope,
            lambda: reset_device(self._settings.values, self._device_type, stop))
        self.sweeps = SweepServer(self, self._topics, self._settings, lambda: self._scope)
        # Transitions of our own run on the executor, like a user's, one after the other.
        self._wake_guard = self.create_guard_condition(lambda: None)
        self._auto_start = AutoStart(
            self, lambda: self._settings.values, self._stage, lambda: self._failure)
        guard_services(self, self._stage, lambda: {
            number: label for number, label, *_ in self._state_machine.available_transitions})
        self._is_complete = True

    def _stage(self) -> str:
        return str(self._state_machine.current_state[1])

    # Start and end, called by run()

    @property
    def finalized(self) -> bool:
        """Return whether it was shut down."""
        return self._stage() == 'finalized'

    def start(self) -> None:
        """Configure and activate, if auto_start is set; on the executor."""
        self._auto_start.begin()

    def wake(self) -> None:
        """Let the executor return from its wait."""
        self._wake_guard.trigger()

    def end(self, deadline: float) -> None:
        """
        Stop, go dark and close, then wait until subscribers have the last messages.

        The wait ends at deadline, a monotonic time [s].
        """
        try:
            if self._stage() in ('unconfigured', 'inactive', 'active'):
                self.trigger_shutdown()
        except Exception as error:
            _log.error('shutdown met an error: %s', error, exc_info=error)
        finally:
            self._close()
        wait_for_acknowledgement(self.publishers, deadline)
        self.sweeps.close(deadline)

    def light_may_be_on(self) -> bool:
        """Return whether darkness is not confirmed, also after cleanup; in any thread."""
        scope = self._scope
        return possibly_lit() or scope is not None and scope.light_may_be_on

    def fail(self, error: Exception, *, log: bool = True) -> None:
        """
        Leave the active state because of an error outside of a transition.

        Called in the executor's thread, which may never run a callback again. A message that
        cannot be decoded comes from another node: it is reported, and the acquisition goes on.
        """
        if isinstance(error, UnicodeDecodeError):
            _log.warning('a message cannot be read: %s', error)
            return
        if log:
            _log.error('the executor met an error: %s', error, exc_info=error)
        self._error = f'{type(error).__name__}: {error}'
        self._deactivate_by_itself()

    def destroy_node(self) -> None:
        """Close the device, the light dark, whatever state the node is in."""
        if self._is_complete:
            self._close()
            self.sweeps.destroy()
        super().destroy_node()

    # Transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the device, start its stream, set the scope up in the dark."""
        return self._transition('configure', self._configure, self._close)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Light up and publish."""
        return self._transition('activate', self._activate, self._deactivate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish the last frame and go dark."""
        return self._transition('deactivate', self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the stream and close."""
        return self._transition('cleanup', self._close)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go through the same steps as deactivate and cleanup."""
        return self._transition('shutdown', self._close)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close whatever is open; the node is unconfigured then."""
        self._close()
        return TransitionCallbackReturn.SUCCESS

    def _transition(
        self, name: str, step: Callable[[], None], undo: Callable[[], None] | None = None,
    ) -> TransitionCallbackReturn:
        """
        Run a step; undo it if it fails, or close everything if it cannot be undone.

        Errors are logged here, because rclpy discards exceptions of transitions.
        """
        self._failure = None
        try:
            step()
        except Interrupted:
            _log.info('%s was given up, because the node ends', name)
        except MiniscopeError as error:
            self._error, self._failure = str(error), error
            if self._auto_start.is_news(error):
                _log.error('cannot %s: %s', name, error)
        except Exception as error:
            self._error = f'{type(error).__name__}: {error}'
            _log.error('%s met an error: %s', name, error, exc_info=error)
            return TransitionCallbackReturn.ERROR
        else:
            self._error = ''
            return TransitionCallbackReturn.SUCCESS
        if undo is None:
            return TransitionCallbackReturn.ERROR
        undo()
        return TransitionCallbackReturn.FAILURE

    def _configure(self) -> None:
        values = self._settings.values
        calibration = load_camera_info(values['camera_info_url'])
        transforms = make_transforms(self) if values['publish_tf'] else None
        try:
            self._scope = OpenScope(
                values, self._device_type, self._stop, self._topics,
                make_clock(self, values['source']), self.watch)
            info = self._scope.open()
            camera_info, warning = fit_camera_info(calibration, info.width, info.height)
            self._topics.open(info, camera_info, transforms)
        except BaseException:
            if transforms is not None:
                transforms.close()
            raise
        for text in filter(None, (
                warning, *info.warnings, describe_darkness(self._device_type))):
            _log.warning('%s', text)
        self._surroundings.check_user()
        _log.info('configured: %s', describe(info))

    def _activate(self) -> None:
        assert self._scope is not None
        self._scope.activate()

    def _deactivate(self) -> None:
        self.sweeps.end('the node was deactivated')
        if self._scope is not None:
            self._scope.deactivate()

    def _close(self) -> None:
        self.sweeps.end('the node was shut down')
        scope, self._scope = self._scope, None
        if scope is not None:
            try:
                scope.close()
            finally:
                del scope
                collect_garbage()

    def _deactivate_by_itself(self) -> None:
        if self._stage() == 'active':
            error = self._error
            if self._scope is not None:
                error = self._scope.status().error or error
            self.trigger_deactivate()
            self._error = error

    # Parameters and diagnostics

    def set_parameters_atomically(
            self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Check all values, take all or none of them, and apply those that were taken."""
        if not hasattr(self, '_monitor'):  # rclpy declares its own parameters with it
            return super().set_parameters_atomically(parameter_list)
        result, names = self._settings.set(
            parameter_list, super().set_parameters_atomically, self._refused_by_device)
        if names:
            values = self._settings.values
            self.left_values.add({name: values[name] for name in names if name in values})
            self.sweeps.note_set(names)
            self._topics.apply(topic_settings(values))
            if 'diagnostics_period' in names:
                self._monitor.set_period(values['diagnostics_period'])
            if self._scope is not None:
                self._scope.apply(values, names)
        return result

    def set_parameters(self, parameter_list: list[Parameter]) -> list[SetParametersResult]:
        """Set one by one; see set_parameters_atomically."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def _refused_by_device(self, name: str, value: Any) -> str:
        """Return why the device that is open cannot take a value; empty if it can."""
        return self._scope.refuse(name, value) if self._scope is not None else ''

    def _observe(self) -> Observation:
        return Observation(
            self._scope.status() if self._scope is not None else None, self._stage(),
            self._error, self._topics.statistics, self._topics.display_skipped)
