# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What is drawn over the displayed picture, one indicator to a corner.

Lower right the head as the animal holds it, lower left a line of text, upper left a loss or a
faulty picture, upper right a light that is not lit. All of it is light on a dark
outline, so that it is legible on any picture and in both encodings, scales with the picture and
covers less than 3 % of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
import math

import cv2
from miniscope_ros.display.head_gizmo import draw_head, draw_ring
from miniscope_ros.model import Quaternion
import numpy as np
from numpy.typing import NDArray

TEXT_HOLD_SECONDS = 0.5
"""Time for which the text keeps a frame rate: digits that always change cannot be read."""

HEAD_HOLD_SECONDS = 0.15
"""Time for which a drawn head is kept: drawing takes as long as all else in the picture."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_Ink = NDArray[np.uint8]


@dataclass(slots=True)
class FrameState:
    """What the indicators show of the frame that they are drawn on."""

    quaternion: Quaternion | None  # w, x, y, z; None while there is no valid, fresh reading
    has_orientation: bool  # the device has the sensor
    frame_rate: float  # measured [frames/s]; NaN unknown
    lost_total: int  # frames lost in this acquisition
    lost_before: int  # frames lost between the frame before and this one
    led_text: str  # the LED's value, of several all; empty where there is no LED
    light_on: bool  # False draws the mark of an inactive light
    stamp_s: float  # the stream's own monotonic time [s]
    fault: str = ''  # what is wrong with the picture itself, in a word


@dataclass(frozen=True)
class _Sprite:
    picture: NDArray[np.uint8]
    mask: NDArray[np.uint8]


class Indicators:
    """
    Draw the indicators onto pictures of one size and encoding.

    What is drawn is kept and drawn again only when it changes.
    """

    def __init__(self, width: int, height: int, channels: int) -> None:
        """Prepare for pictures of (height, width) or, with 3 channels, (height, width, 3)."""
        self._width = width
        self._height = height
        self._channels = channels
        scale = math.sqrt(width * height)
        self._margin = round(0.008 * scale)
        self._gizmo_size = max(8, round(0.125 * scale))
        self._outline = max(1, round(0.0028 * scale))
        self._letter_width = 0.014 * scale
        self._brush = cv2.getStructuringElement(
            cv2.MORPH_ELLIPSE, (2 * self._outline + 1, 2 * self._outline + 1))
        self._drawn: dict[str, tuple[Hashable, _Sprite]] = {}
        self._rate = math.nan
        self._rate_stamp = math.nan
        self._quaternion: Quaternion | None = None
        self._head_stamp = math.nan

    def draw_orientation(self, canvas: NDArray[np.uint8], state: FrameState) -> None:
        """
        Draw the head lower right, or 'no orientation'.

        The head is at most HEAD_HOLD_SECONDS old; that there is none, or one again, shows at once.
        """
        held = 0 <= state.stamp_s - self._head_stamp < HEAD_HOLD_SECONDS
        if not held or self._quaternion is None or state.quaternion is None:
            self._quaternion, self._head_stamp = state.quaternion, state.stamp_s
        quaternion = self._quaternion

        def ink() -> _Ink:
            if quaternion is None:
                return self._no_orientation()
            patch = self._blank(self._gizmo_size, self._gizmo_size)
            draw_head(self._inside(patch), quaternion)
            return patch
        self._draw(canvas, 'orientation', quaternion, ink, right=True, bottom=True)

    def draw_text(self, canvas: NDArray[np.uint8], state: FrameState) -> None:
        """Draw frame rate, lost frames and LED value lower left."""
        if not 0 <= state.stamp_s - self._rate_stamp < TEXT_HOLD_SECONDS:
            self._rate, self._rate_stamp = state.frame_rate, state.stamp_s
        rate = '--' if math.isnan(self._rate) else f'{self._rate:.1f}'
        text = f'{rate} fps  {state.lost_total} lost'
        if state.led_text:
            text += f'  LED {state.led_text}'
        self._draw(canvas, 'text', text, lambda: self._text(text), right=False, bottom=True)

    def draw_dark_light(self, canvas: NDArray[np.uint8]) -> None:
        """Draw the mark of a light that is not lit upper right: a lamp, crossed out."""
        self._draw(canvas, 'light', None, self._dark_light, right=True, bottom=False)

    def draw_loss(self, canvas: NDArray[np.uint8], lost: int) -> None:
        """Draw how many frames were lost upper left, dark on light so that it is noticed."""
        text = f'{lost} frame{"" if lost == 1 else "s"} lost'
        self._draw(canvas, 'loss', lost, lambda: self._inverse(text), right=False, bottom=False)

    def draw_fault(self, canvas: NDArray[np.uint8], fault: str, lost: int) -> None:
        """Draw what is wrong with the picture where a loss is drawn, and how many were lost."""
        text = f'{lost} lost, {fault}' if lost else f'picture: {fault}'
        self._draw(canvas, 'loss', text, lambda: self._inverse(text), right=False, bottom=False)

    def _inverse(self, text: str) -> _Ink:
        """Return a line of text dark on light."""
        letters = self._text(text)
        # 1, not 0: what is 0 is not drawn.
        self._inside(letters)[...] = np.maximum(255 - self._inside(letters), 1)
        return letters

    def _draw(self, canvas: NDArray[np.uint8], name: str, content: Hashable,
              ink: Callable[[], _Ink], right: bool, bottom: bool) -> None:
        """Draw one indicator into its corner; ink is asked only for a new content."""
        drawn = self._drawn.get(name)
        if drawn is None or drawn[0] != content:
            drawn = self._drawn[name] = (content, self._sprite(ink()))
        sprite = drawn[1]
        height, width = sprite.mask.shape
        left = self._width - self._margin - width if right else self._margin
        top = self._height - self._margin - height if bottom else self._margin
        cv2.copyTo(sprite.picture, sprite.mask, canvas[top:top + height, left:left + width])

    def _sprite(self, ink: _Ink) -> _Sprite:
        """Give ink, which is 0 where nothing is drawn, its dark outline."""
        ink = ink[:self._height - 2 * self._margin, :self._width - 2 * self._margin]
        mask = cv2.threshold(cv2.dilate(ink, self._brush), 0, 255, cv2.THRESH_BINARY)[1]
        picture = cv2.cvtColor(ink, cv2.COLOR_GRAY2BGR) if self._channels == 3 else ink
        return _Sprite(picture.astype(np.uint8, copy=False), mask.astype(np.uint8, copy=False))

    def _blank(self, width: int, height: int) -> _Ink:
        """Return no ink at all, (height, width) and room for the outline around it."""
        return np.zeros((height + 2 * self._outline, width + 2 * self._outline), np.uint8)

    def _inside(self, ink: _Ink) -> _Ink:
        """Return the part of a blank that may be drawn on."""
        return ink[self._outline:-self._outline, self._outline:-self._outline]

    def _text(self, text: str) -> _Ink:
        """Return a line of text in a frame just large enough."""
        thickness = max(1, round(0.12 * self._letter_width))
        # By width, since OpenCV's fonts differ between its versions.
        scale = 10 * self._letter_width / cv2.getTextSize('0123456789', _FONT, 1, 1)[0][0]
        (width, height), below = cv2.getTextSize(text, _FONT, scale, thickness)
        pad = 2 * thickness
        ink = self._blank(width + 2 * pad, height + below + 2 * pad)
        cv2.putText(self._inside(ink), text, (pad, height + pad), _FONT, scale, (255,),
                    thickness, cv2.LINE_AA)
        return ink

    def _no_orientation(self) -> _Ink:
        """Return the ring without a head, crossed out, above the words."""
        words = self._text('no orientation')
        ring = self._blank(self._gizmo_size, self._gizmo_size)
        draw_ring(self._inside(ring), 255)
        self._cross_out(ring, self._gizmo_size // 4)
        return _join([_trimmed(ring), words], axis=0)

    def _dark_light(self) -> _Ink:
        """Return a lamp with rays, crossed out, before the words."""
        words = self._text('light off')
        size = round(1.1 * words.shape[0])
        lamp = self._blank(size, size)
        center = lamp.shape[0] // 2
        thickness = max(1, size // 16)
        for angle in np.arange(8) * (math.pi / 4):
            near, far = (
                (round(center + reach * size * math.cos(angle)),
                 round(center + reach * size * math.sin(angle))) for reach in (0.36, 0.48))
            cv2.line(lamp, near, far, (255,), thickness, cv2.LINE_AA)
        cv2.circle(lamp, (center, center), round(0.22 * size), (255,), cv2.FILLED, cv2.LINE_AA)
        self._cross_out(lamp, round(0.36 * size))
        return _join([lamp, words], axis=1)

    def _cross_out(self, ink: _Ink, reach: int) -> None:
        """Draw a bar with dark edges from the lower left to the upper right."""
        center = ink.shape[0] // 2
        start, end = (center - reach, center + reach), (center + reach, center - reach)
        width = max(1, reach // 6)
        cv2.line(ink, start, end, (1,), width + 2 * self._outline, cv2.LINE_AA)
        cv2.line(ink, start, end, (255,), width, cv2.LINE_AA)


def _trimmed(ink: _Ink) -> _Ink:
    """Return ink without the empty rows above and below."""
    rows = np.flatnonzero(ink.any(axis=1))
    return ink[rows[0]:rows[-1] + 1]


def _join(parts: list[_Ink], axis: int) -> _Ink:
    """Return parts below (axis 0) or beside (axis 1) each other, centered on each other."""
    across = 1 - axis
    longest = max(part.shape[across] for part in parts)
    padded = []
    for part in parts:
        missing = longest - part.shape[across]
        pad = [(0, 0), (0, 0)]
        pad[across] = (missing // 2, missing - missing // 2)
        padded.append(np.pad(part, pad))
    return np.concatenate(padded, axis)
