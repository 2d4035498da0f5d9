# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A plain UVC camera on the virtual computer, and what its frames look like."""
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from virtual_daq import BoxConfig, Offer, UvcCamera

WIDTH, HEIGHT = 320, 240
OFFERS = (
    Offer('YUYV', WIDTH, HEIGHT, (30.0, 15.0)), Offer('YUYV', 640, 480, (10.0,)),
    Offer('MJPG', WIDTH, HEIGHT, (60.0, 30.0)), Offer('MJPG', 640, 480, (30.0,)),
    Offer('GREY', WIDTH, HEIGHT, (100.0, 30.0)))


def scenes(count: int = 5) -> NDArray[np.uint8]:
    """Return what a camera may see: smooth, and other in each frame."""
    rows = np.linspace(20, 200, HEIGHT)[:, None]
    columns = np.linspace(0, 50, WIDTH)[None, :]
    return np.stack([
        np.dstack(np.broadcast_arrays(rows + columns, rows * 0.7 + 9 * n, 255 - rows))
        for n in range(count)]).clip(0, 255).astype(np.uint8)


def uvc_camera(*formats: str, **config: Any) -> BoxConfig:
    """Return a camera with the offers in these pixel formats, or with all."""
    offers: Sequence[Offer] = [
        offer for offer in OFFERS if not formats or offer.pixel_format in formats]
    fixed = config.pop('fixed_exposure', False)
    offers = config.pop('offers', offers)
    return BoxConfig(
        camera=UvcCamera(scenes(), offers, fixed_exposure=fixed), readout=0.002, **config)


def shown(config: BoxConfig, offer: int) -> list[NDArray[np.uint8]]:
    """Return the images that are to come of a camera's frames when one of its offers is set."""
    assert config.camera is not None
    chosen = config.camera.offers[offer]
    images = []
    for data in config.camera.pictures(offer):
        raw = np.frombuffer(data, np.uint8)
        if chosen.pixel_format == 'GREY':
            images.append(raw.reshape(chosen.height, chosen.width))
        elif chosen.pixel_format == 'MJPG':
            images.append(cv2.imdecode(raw, cv2.IMREAD_COLOR))
        else:
            code = (cv2.COLOR_YUV2BGR_UYVY if chosen.pixel_format == 'UYVY'
                    else cv2.COLOR_YUV2BGR_YUYV)
            images.append(cv2.cvtColor(raw.reshape(chosen.height, chosen.width, 2), code))
    return images
