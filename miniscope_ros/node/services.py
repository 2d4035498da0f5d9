# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The services of the node beside those of its lifecycle and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import logging
import os
from pathlib import Path
from typing import Any

from miniscope_ros.acquisition.states import CaptureState
from miniscope_ros.errors import ConfigurationError, MiniscopeError
from miniscope_ros.node.camera_info import calibration_path, save_camera_info, why_unusable
from miniscope_ros.node.image_saver import write_png
from miniscope_ros.node.open_scope import OpenScope
from miniscope_ros.node.publishers import Publishers
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.srv import SetCameraInfo
from std_srvs.srv import Trigger

_log = logging.getLogger(__name__)

_SHORTEST_WAIT_S = 1.0
_PERIODS = 3.0  # to wait for a frame; some may be lost


class Services:
    """hard_reset, reset_background, save_image and set_camera_info."""

    def __init__(
        self,
        node: LifecycleNode,
        topics: Publishers,
        values: Callable[[], Mapping[str, Any]],
        scope: Callable[[], OpenScope | None],
        reset_closed: Callable[[], str],
    ) -> None:
        """
        Create the services.

        values returns the parameters, scope None while unconfigured; reset_closed resets a
        device that is not open, and returns in words what was done.
        """
        self._node = node
        self._topics = topics
        self._values = values
        self._scope = scope
        self._reset_closed = reset_closed
        node.create_service(Trigger, '~/hard_reset', self._answer(self._hard_reset))
        node.create_service(Trigger, '~/reset_background', self._answer(self._reset_background))
        node.create_service(Trigger, '~/save_image', self._answer(self._save_image))
        node.create_service(SetCameraInfo, '~/set_camera_info', self._set_camera_info)

    @staticmethod
    def _answer(
        serve: Callable[[], str],
    ) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        """Return the callback of a service that answers with a text or with an error's."""
        def callback(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                response.message = serve()
                response.success = True
            except MiniscopeError as error:
                response.message = str(error)
            return response
        return callback

    def _configured(self) -> OpenScope:
        scope = self._scope()
        if scope is None:
            raise ConfigurationError('the node is not configured')
        return scope

    def _file_name(self) -> str:
        return str(self._node.get_fully_qualified_name().strip('/').replace('/', '_'))

    def _hard_reset(self) -> str:
        scope = self._scope()
        if scope is None:
            return self._reset_closed()
        return f'{scope.hard_reset()}; the node goes on when it is back'

    def _reset_background(self) -> str:
        self._topics.reset_background()
        return ''

    def _save_image(self) -> str:
        scope = self._configured()
        info = scope.info
        status = scope.status()
        if status.state is not CaptureState.ACTIVE:
            raise ConfigurationError('no frame is published: activate the node first')
        period_s = status.period_ns / 1e9 if status.period_ns > 0 else 0.0
        frame = self._topics.saver.next_frame(max(_SHORTEST_WAIT_S, _PERIODS * period_s))
        controls = {
            f'control.{name}': value
            for name, (value, _) in self._topics.latched.controls.items()}
        path = write_png(frame, self._file_name(), {
            'node': self._node.get_fully_qualified_name(), 'device_type': info.device_type,
            'device_name': info.card, 'firmware': info.firmware, 'frame_rate': info.frame_rate,
            **controls})
        _log.info('frame %d was saved as %s', frame.frame_index, path)
        return str(path)

    def _set_camera_info(
        self, request: SetCameraInfo.Request, response: SetCameraInfo.Response,
    ) -> SetCameraInfo.Response:
        try:
            response.status_message = self._take_camera_info(request)
            response.success = True
        except MiniscopeError as error:
            response.status_message = str(error)
        return response

    def _take_camera_info(self, request: SetCameraInfo.Request) -> str:
        info = self._configured().info
        message = request.camera_info
        if (message.width, message.height) != (info.width, info.height):
            raise ConfigurationError(
                f'the calibration is for {message.width}x{message.height}, the images are '
                f'{info.width}x{info.height}')
        if problem := why_unusable(message):
            raise ConfigurationError(f'the calibration cannot be taken: {problem}')
        url = self._values()['camera_info_url']
        name = self._file_name()
        home = Path(os.environ.get('ROS_HOME') or '~/.ros').expanduser()
        path = calibration_path(url) if url else home / 'camera_info' / f'{name}.yaml'
        save_camera_info(message, path, name)
        self._topics.set_camera_info(message)
        hint = '' if url else '; set camera_info_url to it for the next start'
        return f'published from now on and saved as {path}{hint}'
