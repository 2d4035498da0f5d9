# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A plain UVC camera in the place of a box: what it offers, and what its pictures are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

VENDOR, PRODUCT, NAME = '046d', '0825', 'UVC Camera'
_AUTOMATIC = 3  # V4L2_EXPOSURE_APERTURE_PRIORITY
_CHOICES = 16  # box.h


@dataclass(frozen=True)
class Offer:
    """One size in one pixel format: YUYV, UYVY, GREY or MJPG."""

    pixel_format: str
    width: int  # [px]
    height: int
    rates: tuple[float, ...] = (30.0, 15.0)  # [frames/s]


@dataclass(frozen=True)
class UvcCamera:
    """
    A camera; the first offer is its own choice.

    scenes are what it sees, in turn: (n, height, width, 3) BGR, scaled to the size that is set.
    """

    scenes: NDArray[np.uint8]
    offers: Sequence[Offer]
    fixed_exposure: bool = False

    def pictures(self, number: int) -> list[bytes]:
        """Return its pictures as it sends them when an offer, by its number, is set."""
        offer = self.offers[number]
        return [encode(cv2.resize(scene, (offer.width, offer.height)), offer.pixel_format)
                for scene in self.scenes]


def encode(picture: NDArray[Any], pixel_format: str) -> bytes:
    """Return a BGR picture as a camera sends it."""
    if pixel_format == 'MJPG':
        return bytes(cv2.imencode('.jpg', picture)[1])
    if pixel_format == 'GREY':
        return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).tobytes()
    code = cv2.COLOR_BGR2YUV_UYVY if pixel_format == 'UYVY' else cv2.COLOR_BGR2YUV_YUYV
    return cv2.cvtColor(picture, code).tobytes()


def describe(state: Any, folder: Path, camera: UvcCamera) -> None:
    """Make a box's state and its files those of a camera."""
    state['vendor_id'], state['product_id'] = VENDOR.encode(), PRODUCT.encode()
    state['card'] = state['product'] = NAME.encode()
    state['descriptors_size'] = 18
    state['offers'] = len(camera.offers)
    state['fixed_exposure'] = camera.fixed_exposure
    state['exposure_mode'], state['exposure'] = _AUTOMATIC, 156
    state['bank_frames'] = len(camera.scenes)
    for number, offer in enumerate(camera.offers):
        state['offer_format'][number] = int.from_bytes(offer.pixel_format.encode(), 'little')
        state['offer_width'][number] = offer.width
        state['offer_height'][number] = offer.height
        first = _CHOICES * number
        state['offer_rate'][first:first + len(offer.rates)] = offer.rates
        room = offer.width * offer.height * (1 if offer.pixel_format == 'GREY' else 2)
        with (folder / f'offer{number}').open('wb') as file:
            for picture in camera.pictures(number):
                file.write(len(picture).to_bytes(4, 'little') + picture.ljust(room, b'\0'))
