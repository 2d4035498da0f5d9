# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The lifecycle node: wires parameters, acquisition, publishers and diagnostics together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
import gc
import logging
from threading import Event
import time

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from miniscope_ros.acquisition.capture import CaptureEngine
from miniscope_ros.acquisition.orientation import OrientationValidator
from miniscope_ros.acquisition.ros_clock import FollowedTime, RosTime
from miniscope_ros.daq.catalogue import DeviceType, load_catalogue
from miniscope_ros.errors import ConfigurationError, DeviceError, Interrupted, MiniscopeError
from miniscope_ros.node.camera_info import load_camera_info
from miniscope_ros.node.diagnostics import Diagnostics
from miniscope_ros.node.parameter_specs import (
    CAMERA_SPECS,
    common_specs,
    control_specs,
    DEVICE_CATALOG,
    device_type_spec,
    REPLAY_SPECS,
    RULES,
    SOURCE,
)
from miniscope_ros.node.parameters import Parameters, refusal
from miniscope_ros.node.publishers import Publishers, TransformSender, wait_for_acknowledgement
from miniscope_ros.sources.registry import make_source
from miniscope_ros.sources.source import Source
from miniscope_ros.watch.watch import Watch
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

_log = logging.getLogger(__name__)

_LIVE = ('daq', 'camera')


class ScopeNode(LifecycleNode):  # type: ignore[misc]
    """The scope node; see the README for its topics, parameters and services."""

    def __init__(self, stop: Event) -> None:
        """
        Declare everything; ConfigurationError for what was given at start and is no good.

        Waits of a transition are given up when stop is set.
        """
        super().__init__('miniscope', automatically_declare_parameters_from_overrides=True)
        self._stop = stop
        self._error = ''
        self._source: Source | None = None
        self._acquisition: CaptureEngine | None = None
        self._settings = Parameters(self, self._stage)
        self._device_type = self._declare()
        self.watch = Watch(
            self.light_may_be_on, stop, self._device_type.name if self._device_type else '',
            self._settings['device_catalog'])
        self._validator = OrientationValidator()
        self._topics = Publishers(self, self._settings.values, self._on_stopped)
        self._diagnostics = Diagnostics(f'{self.get_namespace()}/{self.get_name()}'.strip('/'))
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Not on the ROS clock: a simulated one may stand still.
        self._timer = self.create_timer(
            self._settings['diagnostics_period'], self._diagnose,
            clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.create_service(Trigger, '~/hard_reset', self._hard_reset)
        self.create_service(Trigger, '~/reset_background', self._reset_background)
        # Transitions of our own run on the executor, like a user's, one after the other.
        self._wake_guard = self.create_guard_condition(lambda: None)
        self._start_guard = self.create_guard_condition(self._start)
        self._stopped_guard = self.create_guard_condition(self._deactivate_by_itself)
        self._answer_invalid_requests()

    def _declare(self) -> DeviceType | None:
        self._settings.declare([SOURCE, DEVICE_CATALOG])
        source = self._settings['source']
        catalogue = load_catalogue(self._settings['device_catalog'] or None)
        self._settings.declare([device_type_spec(tuple(catalogue))])
        prefix = f'{self.get_namespace()}/{self.get_name()}'.strip('/').replace('/', '_')
        self._settings.declare(common_specs(prefix))
        device_type = None
        if source == 'replay':
            self._settings.declare(REPLAY_SPECS)
        elif source == 'camera':
            self._settings.declare(CAMERA_SPECS)
        else:
            device_type = catalogue[self._settings['device_type']]
            self._settings.declare(control_specs(device_type))
        self._settings.finish(RULES)
        follow = self.get_parameter('use_sim_time').value
        if not isinstance(follow, bool):
            raise ConfigurationError(f'use_sim_time cannot be {follow!r}: it is true or false')
        return device_type

    def _stage(self) -> str:
        return str(self._state_machine.current_state[1])

    # Start and end, called by run()

    @property
    def finalized(self) -> bool:
        """Return whether it was shut down."""
        return self._stage() == 'finalized'

    def start(self) -> None:
        """Configure and activate by itself, if that is wanted; on the executor."""
        if self._settings['auto_start']:
            self._start_guard.trigger()

    def _start(self) -> None:
        if self._stage() == 'unconfigured':
            self.trigger_configure()
        if self._stage() == 'inactive':
            self.trigger_activate()

    def wake(self) -> None:
        """Let the executor return from its wait."""
        self._wake_guard.trigger()

    def end(self, deadline: float) -> None:
        """
        Stop, go dark and close, then wait until what was published last has arrived.

        deadline is a monotonic time [s] after which nobody is waited for.
        """
        try:
            if self._stage() in ('unconfigured', 'inactive', 'active'):
                self.trigger_shutdown()
        except Exception as error:
            _log.error('shutdown met an error: %s', error, exc_info=error)
        finally:
            self._close()
        wait_for_acknowledgement(self.publishers, deadline)

    def light_may_be_on(self) -> bool:
        """Return whether the light was not seen to go dark (any thread)."""
        source = self._source
        return source is not None and source.may_be_lit

    def fail(self, error: Exception, *, log: bool = True) -> None:
        """
        Note an error outside of any transition: leave the active state and tell why.

        Called in the executor's thread, which may never get to a callback again.
        """
        if log:
            _log.error('the executor met an error: %s', error, exc_info=error)
        self._error = f'{type(error).__name__}: {error}'
        self._deactivate_by_itself()

    def destroy_node(self) -> None:
        """Close the device, the light dark, whatever state the node is in."""
        self._close()
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
        Run a step; undo it where it fails, or close all if that is impossible.

        rclpy would swallow an exception without a word.
        """
        try:
            step()
        except Interrupted:
            _log.info('%s was given up: the node is to end', name)
        except MiniscopeError as error:
            self._error = str(error)
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
        self._topics.camera_info = load_camera_info(values['camera_info_url'])
        self._topics.transforms = self._transforms() if values['publish_tf'] else None
        self._source = make_source(
            values, self._device_type, self._stop, self.watch.opening)
        self._validator = OrientationValidator(
            values['orientation.max_norm_error'], values['orientation.stale_after'],
            live=self._source.is_live)
        self._acquisition = CaptureEngine(
            self._source, self._topics, self._validator, clock=self._clock_for(values['source']))
        self._acquisition.sync_output = values['sync_output']
        self._acquisition.reconnect = values['reconnect'] and self._source.is_live
        info = self._acquisition.open()
        self._validator.has_sensor = info.has_orientation
        self._topics.open(info)
        for warning in info.warnings:
            _log.warning('%s', warning)
        if self._device_type is not None and self._device_type.dark != 'full':
            _log.warning(
                'the darkest value of a %s is not known to be dark: how dark it is is %s',
                self._device_type.name, self._device_type.dark)
        _log.info('configured: %s %s at %s, %dx%d, firmware %s', info.device_type, info.card,
                  info.path, info.width, info.height, info.firmware or 'unknown')

    def _transforms(self) -> TransformSender:
        try:
            from miniscope_ros.node.tf_broadcaster import Transforms
        except ImportError as error:
            raise ConfigurationError(
                f'publish_tf needs tf2_ros, which cannot be imported ({error}); install it or '
                'set publish_tf to false') from error
        return Transforms(self)

    def _clock_for(self, source: str) -> RosTime:
        if not self.get_parameter('use_sim_time').value:
            return RosTime()
        if source in _LIVE:
            _log.warning('use_sim_time is ignored: source %s takes place in real time', source)
            return RosTime()
        return FollowedTime(lambda: int(self.get_clock().now().nanoseconds))

    def _activate(self) -> None:
        assert self._acquisition is not None
        self.watch.lighting()
        self._acquisition.activate()

    def _deactivate(self) -> None:
        if self._acquisition is not None:
            self._acquisition.deactivate()

    def _close(self) -> None:
        acquisition, self._acquisition = self._acquisition, None
        if acquisition is None:
            return
        try:
            acquisition.close()
        finally:
            lit, opened = self.light_may_be_on(), acquisition.status().info is not None
            self.watch.closed(not lit if lit or opened else None)
            self._source = None
            self._topics.close()
            # The parts of a source refer to each other, and hold large images.
            del acquisition
            gc.collect()

    def _on_stopped(self) -> None:
        """Have the executor leave the active state; called in the capture thread."""
        self._stopped_guard.trigger()

    def _deactivate_by_itself(self) -> None:
        if self._stage() == 'active':
            error = self._error
            if self._acquisition is not None:
                error = self._acquisition.status().error or error
            self.trigger_deactivate()
            self._error = error

    def _answer_invalid_requests(self) -> None:
        """Answer an invalid transition with failure; rclpy raises it out of spin, unanswered."""
        for service in self.services:
            if service.srv_type is ChangeState:
                service.callback = partial(self._change_state, service.callback)

    def _change_state(
        self, change: Callable[[ChangeState.Request, ChangeState.Response], ChangeState.Response],
        request: ChangeState.Request, response: ChangeState.Response,
    ) -> ChangeState.Response:
        before = self._stage()
        try:
            return change(request, response)
        except Exception as error:
            wanted = request.transition.label or request.transition.id
            _log.warning('transition %s refused in state %s: %s', wanted, before,
                         ' '.join(str(error).split()))
            response.success = False
            return response

    # Parameters

    def set_parameters_atomically(
            self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Check all, take all or none, and put what was taken into force."""
        if not hasattr(self, '_topics'):
            return super().set_parameters_atomically(parameter_list)
        converted, problems = self._settings.check(parameter_list)
        if problems:
            return refusal(problems)
        result = super().set_parameters_atomically(converted)
        if result.successful:
            self._apply([parameter.name for parameter in converted])
        return result

    def set_parameters(self, parameter_list: list[Parameter]) -> list[SetParametersResult]:
        """Set one by one; see set_parameters_atomically."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def _apply(self, names: list[str]) -> None:
        values = self._settings.values
        self._topics.apply(values)
        self._validator.max_norm_error = values['orientation.max_norm_error']
        self._validator.stale_after = values['orientation.stale_after']
        if 'diagnostics_period' in names:
            self._timer.timer_period_ns = int(values['diagnostics_period'] * 1e9)
            self._timer.reset()
        source, acquisition = self._source, self._acquisition
        if source is None or acquisition is None:
            return
        acquisition.reconnect = values['reconnect'] and source.is_live
        for name in names:
            if name in source.controls:
                source.set_value(name, float(values[name]))
        if 'sync_output' in names:
            try:
                acquisition.set_sync(values['sync_output'])
            except DeviceError as error:
                _log.warning('sync_output takes effect when the device is back: %s', error)

    # Services

    def _hard_reset(
            self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            if self._acquisition is None:
                raise ConfigurationError('the node is not configured')
            self._acquisition.hard_reset()
            response.success = True
            response.message = 'the box restarts; the node goes on when it is back'
        except MiniscopeError as error:
            response.message = str(error)
        return response

    def _reset_background(
            self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._topics.reset_background()
        response.success = True
        return response

    # Diagnostics

    def _diagnose(self) -> None:
        acquisition = self._acquisition
        statuses = self._diagnostics.statuses(
            acquisition.status() if acquisition is not None else None, self._stage(),
            self._error, self._topics.statistics, self._topics.display_skipped, time.monotonic())
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics_publisher.publish(message)
