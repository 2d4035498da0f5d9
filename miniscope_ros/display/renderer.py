# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The picture a person focuses the scope and judges the experiment by.

The steps, in this order: mode, contrast window, colour map, saturated pixels in red, indicators.
The image it is made from is only read.
"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Literal, NamedTuple

import cv2
from miniscope_ros.display.overlays import FrameState, Indicators
import numpy as np
from numpy.typing import NDArray

Mode = Literal['raw', 'background_difference', 'delta_f_over_f']
ColorMap = Literal['none', 'green', 'red', 'inferno']

SATURATED = 253
"""Lowest sensor value that counts as saturated: 99 % of 255, rounded up."""

BASELINE_SECONDS = 5.0
"""Time constant of the baseline F0."""

BASELINE_FLOOR = 8.0
"""Lowest F0 that is divided by [grey levels]: below it, one level of noise is a large dF/F."""

LONGEST_GAP_SECONDS = 10.0
"""A background not fed for longer than this is taken for outdated."""

LOSS_MARK_SECONDS = 0.5

DIFFERENCE_ZERO = 51
"""Grey level of no change in background_difference with automatic gain: a fifth of white."""

_PEAK_SHARE = 0.995  # share of the pixels below the level that is shown white
_PEAK_FLOOR = 16.0  # [grey levels]; smaller differences are not stretched to white
_PEAK_SECONDS = 5.0  # time constant with which the brightest difference is forgotten
_PEAK_STEP = 8  # [px] between the pixels that are looked at, in each direction

_BYTE = np.dtype(np.uint8)


@dataclass(frozen=True)
class DisplaySettings:
    """How the display looks: the display.* parameters of interface.md."""

    mode: Mode = 'raw'
    background_alpha: float = 0.01  # weight of the newest frame in the background
    minimum: int = 0  # shown black
    maximum: int = 255  # shown white
    orientation_indicator: bool = True
    text_indicator: bool = True
    loss_indicator: bool = True
    delta_f_maximum: float = 0.2  # dF/F that is shown white
    highlight_saturation: bool = False
    color_map: ColorMap = 'none'
    scale_difference: bool = False  # background_difference with automatic gain, never black

    @property
    def encoding(self) -> Literal['mono8', 'bgr8']:
        """Return the display's encoding for a mono8 source; for a bgr8 source it is bgr8."""
        return 'mono8' if self.color_map == 'none' and not self.highlight_saturation else 'bgr8'


class PictureStatistics(NamedTuple):
    """The numbers that show whether the LED is set well."""

    minimum: int
    maximum: int
    mean: float
    saturated_share: float  # of the pixels, 0..1


def subtract_background(image: NDArray[np.uint8], background: NDArray[np.float32],
                        out: NDArray[np.uint8]) -> None:
    """Write image - round(background), 0 where that is negative, to out; all of one shape."""
    cv2.convertScaleAbs(background, out)
    cv2.subtract(image, out, out)


class DifferenceScale:
    """
    The automatic scale of background_difference: no change is dark grey, a flash is white.

    A difference is a few grey levels: shown as it is, the picture would look black. The brightest
    differences set the gain at once and are forgotten within seconds, so the picture is steady.
    """

    def __init__(self) -> None:
        self._peak = _PEAK_FLOOR
        self._stamp_s = 0.0

    def begin(self) -> None:
        """Forget the differences of an earlier background."""
        self._peak = _PEAK_FLOOR

    def show(self, image: NDArray[np.uint8], background: NDArray[np.float32], stamp_s: float,
             out: NDArray[np.uint8]) -> None:
        """Write DIFFERENCE_ZERO + gain * (image - background) to out; all of one shape."""
        some = (slice(None, None, _PEAK_STEP),) * 2
        sample = np.subtract(image[some], background[some], dtype=np.float32)
        brighter = max(1, sample.size - int(_PEAK_SHARE * sample.size))  # than the peak, or it
        # Differences below the floor make no peak; mostly that is all of them.
        high = sample[sample > _PEAK_FLOOR]
        peak = (float(np.partition(high, -brighter)[-brighter]) if high.size >= brighter
                else _PEAK_FLOOR)
        elapsed = max(0.0, stamp_s - self._stamp_s)
        self._stamp_s = stamp_s
        self._peak = max(
            peak, _PEAK_FLOOR,
            _PEAK_FLOOR + (self._peak - _PEAK_FLOOR) * math.exp(-elapsed / _PEAK_SECONDS))
        gain = (255 - DIFFERENCE_ZERO) / self._peak
        cv2.addWeighted(image, gain, background, -gain, DIFFERENCE_ZERO, out, cv2.CV_8U)


def relative_change(image: NDArray[np.uint8], baseline: NDArray[np.float32], white: float,
                    out: NDArray[np.uint8], change: NDArray[np.float32],
                    divisor: NDArray[np.float32]) -> None:
    """
    Write dF/F = (image - baseline) / baseline to out, 0 and below as 0, white and above as 255.

    A baseline below BASELINE_FLOOR is divided by as if it were that: what is dark stays dark
    instead of flickering. All arrays have one shape; change and divisor are room to work in.
    The reference programs show ((F/F0 - 1) + 0.02) * 2560: their black is -0.02 and their white
    about 0.08; here both ends are plain numbers, 0 and the one the user set.
    """
    cv2.subtract(image, baseline, change, None, cv2.CV_32F)
    np.maximum(baseline, BASELINE_FLOOR, out=divisor)
    cv2.divide(change, divisor, out, 255 / white, cv2.CV_8U)


def contrast_table(minimum: int, maximum: int) -> NDArray[np.uint8]:
    """
    Return for each of 256 grey levels the shown one: (level - minimum)*255/(maximum - minimum).

    Values beyond the window are black or white. A window that is empty or the wrong way round
    becomes one level wide.
    """
    levels = (np.arange(256.0) - minimum) * (255 / max(1, maximum - minimum))
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)


def color_table(color_map: ColorMap) -> NDArray[np.uint8]:
    """Return the BGR colours of 256 grey levels, (256, 3)."""
    levels = np.arange(256, dtype=np.uint8)
    if color_map == 'inferno':
        return np.asarray(cv2.applyColorMap(levels[:, None], cv2.COLORMAP_INFERNO)[:, 0], np.uint8)
    lit = {'none': (1, 1, 1), 'green': (0, 1, 0), 'red': (0, 0, 1)}[color_map]
    return np.outer(levels, np.array(lit, np.uint8))


def saturated_pixels(image: NDArray[np.uint8],
                     out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Return a mask (height, width), 255 where a pixel (any of its channels) is saturated."""
    if image.ndim == 2:
        mask = cv2.threshold(image, SATURATED - 1, 255, cv2.THRESH_BINARY, out)[1]
    else:
        below = SATURATED - 1
        mask = cv2.inRange(image, (0, 0, 0), (below, below, below), out)
        mask = cv2.bitwise_not(mask, mask)
    return np.asarray(mask, np.uint8)


def picture_statistics(image: NDArray[np.uint8]) -> PictureStatistics:
    """Return minimum, maximum and mean over all channels, and the share of saturated pixels."""
    minimum, maximum, _, _ = cv2.minMaxLoc(image.reshape(image.shape[0], -1))
    mean = float(np.mean(cv2.mean(image)[:1 if image.ndim == 2 else 3]))
    saturated = cv2.countNonZero(saturated_pixels(image))
    height, width = image.shape[:2]
    return PictureStatistics(int(minimum), int(maximum), mean, saturated / (height * width))


@dataclass(frozen=True)
class _Look:
    """What depends on the settings alone."""

    settings: DisplaySettings
    channels: int  # of the picture
    contrast: NDArray[np.uint8]  # shown level of 256 grey levels
    colors: NDArray[np.uint8]  # BGR of 256 grey levels, (256, 1, 3)


class _LossMark:
    """How many lost frames the loss indicator shows, and for how long."""

    def __init__(self) -> None:
        self._unseen = 0  # lost before frames that were not shown
        self._shown = 0
        self._stamp_s = 0.0

    def begin(self) -> None:
        """Forget the losses of an earlier acquisition."""
        self._unseen = self._shown = 0

    def learn(self, lost: int) -> None:
        """Note frames lost before one that is not shown."""
        self._unseen += lost

    def count(self, lost: int, stamp_s: float) -> int:
        """Return how many lost frames to show on a frame before which some were lost."""
        lost, self._unseen = lost + self._unseen, 0
        fresh = 0 <= stamp_s - self._stamp_s < LOSS_MARK_SECONDS
        if lost:
            self._shown = lost + (self._shown if fresh else 0)
            self._stamp_s = stamp_s
            fresh = True
        return self._shown if fresh else 0


class _FaultMark:
    """What the mark of a faulty picture says, and for how long."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget the faults of an earlier acquisition."""
        self._fault = ''
        self._stamp_s = 0.0

    def text(self, fault: str, stamp_s: float) -> str:
        """Return what to show on a frame with a fault, or without one ('')."""
        if fault:
            self._fault, self._stamp_s = fault, stamp_s
        fresh = 0 <= stamp_s - self._stamp_s < LOSS_MARK_SECONDS
        return self._fault if fresh else ''


class Display:
    """
    Make the display's pictures from frames of one size.

    Every frame goes to render() or, while the display runs at a lower rate than the camera, to
    learn(). While nobody looks no frame needs to go to either: a background that has not been fed
    for LONGEST_GAP_SECONDS of the stream's time, or whose time runs backwards, starts again with
    the next frame; after a shorter pause it goes on as it was.

    background_difference is frame - round(background), where background is the running average
    (1 - alpha)*background + alpha*frame, in float32 and updated with the frame before it is
    subtracted, as in the reference program. Unlike there it starts with the first frame instead
    of black, so that the first 1/alpha frames are right too. With scale_difference it is scaled
    automatically, see DifferenceScale.

    delta_f_over_f divides by F0, a running mean with a time constant of BASELINE_SECONDS, until
    that much time has passed the plain mean of all frames. (Elsewhere F0 is the mean of 128 frames
    50 ms apart; a running mean covers about the same time and keeps one frame instead of 128.)

    Of a colour image each channel is processed by itself; with a colour map it is turned to grey
    after the mode, since a map has room for one value only.

    settings may be replaced at any time and by any thread; the next frame is made with them. One
    thread at a time may use the rest, and reset_background() may be called from any.
    """

    def __init__(self, width: int, height: int, color: bool = False) -> None:
        """Prepare for images of (height, width) or, with color, (height, width, 3) as BGR."""
        self.settings = DisplaySettings()
        self._color = color
        self._shape: tuple[int, ...] = (height, width, 3) if color else (height, width)
        # Memory that a mode does not use is never touched and thus costs nothing.
        self._values = np.empty(self._shape, np.uint8)
        self._bgr = np.empty((height, width, 3), np.uint8)
        self._grey = np.empty((height, width), np.uint8)
        self._red = np.empty((height, width, 3), np.uint8)
        self._background = np.empty(self._shape, np.float32)
        self._change = np.empty(self._shape, np.float32)
        self._divisor = np.empty(self._shape, np.float32)
        self._difference = DifferenceScale()
        self._reseed = True
        self._learned = 0
        self._learned_stamp = 0.0
        self._loss = _LossMark()
        self._fault = _FaultMark()
        self._look = self._make_look(self.settings)
        self._indicators = Indicators(width, height, self._look.channels)

    def begin(self) -> None:
        """Begin an acquisition: neither background nor losses of the last one matter."""
        self._loss.begin()
        self._fault.begin()
        self._reseed = True

    def reset_background(self) -> None:
        """Start the background and the baseline again with the next frame."""
        self._reseed = True

    def learn(self, image: NDArray[np.uint8], state: FrameState) -> None:
        """Take notice of a frame that is not shown: its brightness and the losses before it."""
        settings = self.settings
        self._use(settings)
        self._check(image)
        self._loss.learn(state.lost_before)
        self._fault.text(state.fault, state.stamp_s)
        self._learn(image, state.stamp_s, settings)

    def render(self, image: NDArray[np.uint8], state: FrameState) -> NDArray[np.uint8]:
        """
        Return the picture of a frame, (height, width) or (height, width, 3), contiguous.

        It is valid until the next call. ValueError if the image has another shape or type.
        """
        settings = self.settings
        self._use(settings)
        self._check(image)
        self._learn(image, state.stamp_s, settings)
        picture = self._process(image, state.stamp_s, settings)
        self._indicate(picture, state, settings)
        return picture

    def _use(self, settings: DisplaySettings) -> None:
        """Prepare what depends on the settings alone."""
        if settings is self._look.settings:
            return
        before, look = self._look, self._make_look(settings)
        if settings.mode != before.settings.mode:
            self._reseed = True
        if look.channels != before.channels:
            height, width = self._shape[:2]
            self._indicators = Indicators(width, height, look.channels)
        if settings.highlight_saturation:
            self._red[...] = 0, 0, 255
        self._look = look

    def _make_look(self, settings: DisplaySettings) -> _Look:
        contrast = contrast_table(settings.minimum, settings.maximum)
        return _Look(
            settings, 3 if self._color or settings.encoding == 'bgr8' else 1, contrast,
            color_table(settings.color_map)[contrast].reshape(256, 1, 3))

    def _check(self, image: NDArray[np.uint8]) -> None:
        if image.shape != self._shape or image.dtype != _BYTE:
            # OpenCV would leave the buffers as they are and return others.
            raise ValueError(f'the display was made for uint8 images of shape {self._shape}, '
                             f'not {image.dtype} {image.shape}')

    def _learn(self, image: NDArray[np.uint8], stamp_s: float, settings: DisplaySettings) -> None:
        """Update background or baseline, whichever the mode needs."""
        if settings.mode == 'raw':
            return
        elapsed = stamp_s - self._learned_stamp
        self._learned_stamp = stamp_s
        if self._reseed or not 0 <= elapsed <= LONGEST_GAP_SECONDS:
            self._reseed = False
            self._learned = 1
            self._difference.begin()
            np.copyto(self._background, image)
            return
        self._learned += 1
        if settings.mode == 'background_difference':
            alpha = settings.background_alpha
        else:
            alpha = max(1 / self._learned, 1 - math.exp(-elapsed / BASELINE_SECONDS))
        cv2.accumulateWeighted(image, self._background, alpha)

    def _process(self, image: NDArray[np.uint8], stamp_s: float,
                 settings: DisplaySettings) -> NDArray[np.uint8]:
        """Return the picture without indicators."""
        values: NDArray[np.uint8] = image
        if settings.mode == 'background_difference':
            values = self._values
            if settings.scale_difference:
                self._difference.show(image, self._background, stamp_s, values)
            else:
                subtract_background(image, self._background, values)
        elif settings.mode == 'delta_f_over_f':
            values = self._values
            relative_change(image, self._background, settings.delta_f_maximum, values,
                            self._change, self._divisor)

        if settings.color_map != 'none':
            if self._color:
                cv2.cvtColor(values, cv2.COLOR_BGR2GRAY, self._grey)
                values = self._grey
            picture: NDArray[np.uint8] = self._bgr
            cv2.applyColorMap(values, self._look.colors, picture)
        else:
            picture = self._values
            if (settings.minimum, settings.maximum) != (0, 255):
                cv2.LUT(values, self._look.contrast, picture)
            elif values is image:
                np.copyto(picture, image)
            if self._look.channels == 3 and not self._color:
                cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR, self._bgr)
                picture = self._bgr

        if settings.highlight_saturation:
            saturated_pixels(image, self._grey)
            cv2.copyTo(self._red, self._grey, picture)
        return picture

    def _indicate(self, picture: NDArray[np.uint8], state: FrameState,
                  settings: DisplaySettings) -> None:
        """Draw the indicators that are switched on."""
        lost = self._loss.count(state.lost_before, state.stamp_s)
        fault = self._fault.text(state.fault, state.stamp_s)
        if settings.loss_indicator and fault:
            self._indicators.draw_fault(picture, fault, lost)
        elif settings.loss_indicator and lost:
            self._indicators.draw_loss(picture, lost)
        if settings.orientation_indicator and state.has_orientation:
            self._indicators.draw_orientation(picture, state)
        if settings.text_indicator:
            self._indicators.draw_text(picture, state)
            if not state.light_on:
                self._indicators.draw_dark_light(picture)
