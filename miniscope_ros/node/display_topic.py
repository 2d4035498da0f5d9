# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""image_display and its compressed form: the picture for the eye, as often as there is time."""

from __future__ import annotations

from collections.abc import Mapping

from builtin_interfaces.msg import Time
import cv2
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.daq.control import LIGHTS
from miniscope_ros.display.overlays import FrameState
from miniscope_ros.display.renderer import Display
from miniscope_ros.model import Content, Quaternion, SourceInfo
from miniscope_ros.node.packers import Packers
from miniscope_ros.node.settings import TopicSettings
from miniscope_ros.node.stream_publishers import StreamPublishers
from sensor_msgs.msg import CompressedImage, Image

_MARKS = {
    Content.BLOCKS_MISPLACED: 'blocks', Content.BANDED: 'bands', Content.DARK: 'dark',
    Content.REPEATED: 'same'}
"""The mark of a faulty picture, which has little room."""

_EARLY = 0.02  # part of the display's period that a picture may come too early
_LONGEST_SKIP_NS = 1_000_000_000  # one picture a second is shown even where the time is short


class DisplayTopic:
    """
    Publishes the display of one configured source; made at configure, dropped at cleanup.

    A picture is skipped while another frame waits, since image_raw comes first, but at least one
    a second is shown. reset_background and apply may be called in any thread.
    """

    def __init__(
        self,
        streams: StreamPublishers,
        info: SourceInfo,
        settings: TopicSettings,
        controls: Mapping[str, tuple[float, int]],
    ) -> None:
        """Create the topics; controls are the values and raw values in force."""
        self.skipped = 0  # pictures of this acquisition
        self._streams = streams
        self._has_orientation = info.has_orientation
        self._display = Display(info.width, info.height, info.encoding == 'bgr8')
        self._plain = streams.create(Image, '~/image_display')
        self._compressed = streams.create(CompressedImage, '~/image_display/compressed')
        self._message = CompressedImage(format='jpeg')
        self._resets: list[int] = []  # capture indices at which the background begins again
        self._lost_total = 0
        self._period_ns = 0.0
        self._next_ns = 0.0  # stamp from which on the next picture is due
        self._shown_ns = 0  # when the last picture was shown, CLOCK_MONOTONIC
        self._led_text = ''
        self._light_on = True
        self.apply(settings)
        self.set_controls(controls)

    def apply(self, settings: TopicSettings) -> None:
        """Take settings; they hold from the next frame on."""
        self._display.settings = settings.display
        self._period_ns = 1e9 / settings.display_max_rate if settings.display_max_rate else 0.0
        self._next_ns = 0.0

    def set_controls(self, controls: Mapping[str, tuple[float, int]]) -> None:
        """Take the control values in force, with their raw values."""
        lights = [value for name, (value, _) in controls.items() if name in LIGHTS]
        self._led_text = ' '.join(f'{value:g}' for value in lights)
        self._light_on = any(lights) or not lights  # also where there is none

    def begin(self) -> None:
        """Begin an acquisition."""
        self.skipped = self._lost_total = 0
        self._next_ns = 0.0
        self._resets.clear()
        self._display.begin()

    def reset_background(self) -> None:
        """Begin the background again with the next frame."""
        self._display.reset_background()

    def reset_background_at(self, capture_index: int) -> None:
        """Begin the background again with a frame that is still to come."""
        self._resets.append(capture_index)

    def publish(
        self, frame: Frame, stamp: Time, packers: Packers, quaternion: Quaternion | None,
    ) -> None:
        """Publish the picture of a frame, if somebody looks and there is time."""
        self._lost_total += frame.loss.lost
        while self._resets and self._resets[0] <= frame.capture_index:
            del self._resets[0]
            self._display.reset_background()
        subscribed = self._streams.subscribed_topics
        plain, compressed = self._plain in subscribed, self._compressed in subscribed
        if not plain and not compressed:
            return
        state = self._state(frame, quaternion)
        if not self._is_due(frame):
            self._display.learn(frame.sample.image, state)
            return
        picture = self._display.render(frame.sample.image, state)
        if plain:
            self._plain.publish(packers.image(stamp, picture))
        if compressed:
            quality = [cv2.IMWRITE_JPEG_QUALITY, packers.settings.jpeg_quality]
            message = self._message
            message.header.stamp = stamp
            message.header.frame_id = packers.settings.frame_id
            # Assigning an array checks every byte where checks are on, and on Humble always.
            del message.data[:]
            message.data.frombytes(cv2.imencode('.jpg', picture, quality)[1])
            self._compressed.publish(message)

    def _is_due(self, frame: Frame) -> bool:
        """Return whether a frame is shown, by the rate that is set and the time there is."""
        stamp_ns, now_ns = frame.sample.stamp_ns, frame.sample.receive_ns
        if stamp_ns < self._next_ns - _EARLY * self._period_ns:
            return False
        # image_raw comes first: what shows it to the eye must never cost a frame.
        if frame.waiting() and now_ns - self._shown_ns < _LONGEST_SKIP_NS:
            self.skipped += 1
            return False
        # The rate is held on average: frames come when they come.
        self._next_ns = max(self._next_ns + self._period_ns, stamp_ns)
        self._shown_ns = now_ns
        return True

    def _state(self, frame: Frame, quaternion: Quaternion | None) -> FrameState:
        return FrameState(
            quaternion=quaternion, has_orientation=self._has_orientation,
            frame_rate=frame.rate, lost_total=self._lost_total, lost_before=frame.loss.lost,
            fault=_MARKS.get(frame.content, ''),
            led_text=self._led_text, light_on=self._light_on,
            stamp_s=frame.sample.stamp_ns / 1e9)
