# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Which of the formats that a camera offers is used for what is asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.transports.v4l2_formats import CameraFormat

READABLE = ('YUYV', 'GREY', 'MJPG')
"""The pixel formats whose frames are read without OpenCV's part for cameras."""

_TOLERANCE = 0.01  # between a rate and its label, as 29.97 and 30


@dataclass(frozen=True)
class CameraRequest:
    """What is asked of a camera; 0, NaN or an empty text leave it to the camera."""

    width: int = 0  # [px]
    height: int = 0
    pixel_format: str = ''  # four characters, as YUYV
    frame_rate: float = math.nan  # [frames/s]
    exposure: float = 0.0  # in the camera's own unit

    def matches(self, offer: CameraFormat) -> bool:
        """Return whether an offer has the size and the pixel format that are asked for."""
        return (self.width in (0, offer.width) and self.height in (0, offer.height)
                and self.pixel_format in ('', offer.pixel_format))

    def __str__(self) -> str:
        """Return size and pixel format in words."""
        size = f'{self.width or "any width"} x {self.height or "any height"}'
        return f'{self.pixel_format} {size}'.strip()


def choose_format(
    offers: Sequence[CameraFormat], own: CameraFormat, request: CameraRequest,
) -> CameraFormat | None:
    """
    Return the offer to use.

    What is not asked for stays as the camera has it, where that can be: first its size; then the
    asked rate counts more than its pixel format.

    Parameters
    ----------
    offers : Sequence[CameraFormat]
        What the camera lists.
    own : CameraFormat
        What it has now.
    request : CameraRequest
        What the user asks for.

    Returns
    -------
    CameraFormat | None
        None if the camera lists nothing that can be read without OpenCV.

    Raises
    ------
    ConfigurationError
        If the camera does not offer what is asked for, with what it offers.

    """
    readable = [offer for offer in offers if offer.pixel_format in READABLE]
    if not readable:
        return None
    fitting = [offer for offer in readable if request.matches(offer)]
    if not fitting:
        raise ConfigurationError(
            f'image_width, image_height, pixel_format: the camera does not offer {request}; it '
            f'offers {describe(readable)}')
    return min(fitting, key=lambda offer: (
        (offer.width, offer.height) != (own.width, own.height),
        not _reaches(offer, request.frame_rate), offer.pixel_format != own.pixel_format))


def describe(offers: Sequence[CameraFormat]) -> str:
    """Return offers in words."""
    return '; '.join(map(str, offers)) or 'no size that it lists'


def same_rate(one: float, other: float) -> bool:
    """Return whether two frame rates are the same but for their labels."""
    return math.isclose(one, other, rel_tol=_TOLERANCE)


def _reaches(offer: CameraFormat, rate: float) -> bool:
    return not rate > 0 or not offer.frame_rates or any(
        same_rate(offered, rate) for offered in offer.frame_rates)
