# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
A small mouse head, drawn as the animal holds its own.

The head is a solid in body axes (x along the nose, y to the left, z up, as REP 103 has it),
turned by the orientation and seen from behind and above: with the quaternion (1, 0, 0, 0) the nose
points away from the eye, up in the picture, and a turn to the left turns it to the left. The ring
around the head lies level in the world; the bead on it shows the heading.
"""

from __future__ import annotations

import math

import cv2
from miniscope_ros.model import Quaternion
import numpy as np
from numpy.typing import NDArray

_Points = NDArray[np.float64]

_SUBPIXEL_BITS = 4
_ELEVATION = math.radians(45)
# Rows: right and up in the picture, and away from the eye, in world axes (x ahead, y left, z up).
_CAMERA = np.array([
    [0.0, -1.0, 0.0],
    [math.sin(_ELEVATION), 0.0, math.cos(_ELEVATION)],
    [math.cos(_ELEVATION), 0.0, -math.sin(_ELEVATION)],
])
_LIGHT = np.array([-0.35, 0.6, -0.72])  # in picture axes: from the upper left, before the head
_RING_SIZE = 0.45  # radius as a share of the picture
_HEAD_SIZE = 0.84  # of the ring
_DARKEST, _BRIGHTEST = 75, 235
_EYE_SHADE, _NOSE_SHADE, _EAR_SHADE, _INNER_EAR_SHADE, _RING_SHADE = 1, 25, 225, 130, 170
_CORNERS = 10
_EAR_CORNERS = 14


def _circle(center: tuple[float, float, float], across: tuple[float, float, float],
            along: tuple[float, float, float], corners: int) -> _Points:
    """Return corners on an ellipse around a center, spanned by two half axes, as (corners, 3)."""
    angle = np.arange(corners) * (2 * math.pi / corners)
    return (np.array(center) + np.outer(np.cos(angle), across) + np.outer(np.sin(angle), along))


def _ear(side: int, scale: float) -> _Points:
    return _circle((-0.30, 0.50 * side, 0.52), (0.0, 0.26 * scale, 0.10 * side * scale),
                   (-0.10 * scale, -0.08 * side * scale, 0.30 * scale), _EAR_CORNERS)


# From the back of the head to the tip of the nose, rings of corners.
_HEAD = np.concatenate([
    _circle((-0.70, 0.0, 0.02), (0.0, 0.30, 0.0), (0.0, 0.0, 0.27), _CORNERS),
    _circle((-0.42, 0.0, 0.02), (0.0, 0.50, 0.0), (0.0, 0.0, 0.44), _CORNERS),
    _circle((-0.05, 0.0, 0.00), (0.0, 0.50, 0.0), (0.0, 0.0, 0.42), _CORNERS),
    _circle((1.00, 0.0, -0.12), (0.0, 0.12, 0.0), (0.0, 0.0, 0.11), _CORNERS),
])
# The head is convex, so the faces that look at the eye hide all the others.
_FACES = [np.arange(_CORNERS)] + [
    np.array([ring + k, ring + (k + 1) % _CORNERS,
              ring + _CORNERS + (k + 1) % _CORNERS, ring + _CORNERS + k])
    for ring in range(0, 3 * _CORNERS, _CORNERS) for k in range(_CORNERS)
] + [3 * _CORNERS + np.arange(_CORNERS)]
_EYES = np.array([[0.38, 0.31, 0.20], [0.38, -0.31, 0.20]])
_NOSE = np.array([[1.02, 0.0, -0.12]])
_EARS = np.concatenate([_ear(side, scale) for side in (1, -1) for scale in (1.0, 0.62)])
_POINTS = np.concatenate([_HEAD, _EYES, _NOSE, _EARS])  # all of them, to be turned at once
_EYE_AT = len(_HEAD)
_NOSE_AT = _EYE_AT + len(_EYES)
_EARS_AT = _NOSE_AT + len(_NOSE)


def _outward_normals() -> _Points:
    """Return the normals of all faces, then those of the head where the eyes are."""
    normals = []
    for face in _FACES:
        a, b, c = _HEAD[face[0]], _HEAD[face[1]], _HEAD[face[2]]
        normal = np.cross(b - a, c - b)
        outward = _HEAD[face].mean(axis=0) - _HEAD.mean(axis=0)
        normals.append(normal * math.copysign(1 / np.linalg.norm(normal), normal @ outward))
    return np.array(normals + [(0.25, 0.75, 0.60), (0.25, -0.75, 0.60)])


_NORMALS = _outward_normals()


def rotation_matrix(quaternion: Quaternion) -> _Points:
    """
    Return the (3, 3) matrix that turns body axes into world axes.

    quaternion is w, x, y, z; its norm need not be 1, but not 0.
    """
    norm = math.hypot(*quaternion)
    w, x, y, z = (part / norm for part in quaternion)  # floats: NumPy is slow with so few
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])


def draw_head(ink: NDArray[np.uint8], quaternion: Quaternion) -> None:
    """Draw the head into a black square image (n, n); what is drawn is nowhere 0."""
    size = ink.shape[0]
    unit = 1 << _SUBPIXEL_BITS
    radius = _RING_SIZE * size
    rotation = rotation_matrix(quaternion)
    turn = _CAMERA @ rotation
    points = _HEAD_SIZE * _POINTS @ turn.T
    pixels = _fixed_point(points, size)
    normals = _NORMALS @ turn.T
    facing = normals[:, 2] < 0
    shades = np.clip(normals @ _LIGHT, 0, 1) * (_BRIGHTEST - _DARKEST) + _DARKEST

    def fill(corners: NDArray[np.int32], shade: int) -> None:
        cv2.fillConvexPoly(ink, corners, (shade,), cv2.LINE_AA, _SUBPIXEL_BITS)

    def disc(center: NDArray[np.int32], share: float, shade: int) -> None:
        cv2.circle(ink, (int(center[0]), int(center[1])), round(share * radius * unit),
                   (shade,), cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)

    def nose_and_ears(behind: bool) -> None:
        """Draw those of them that are behind, or before, the middle of the head."""
        if (points[_NOSE_AT, 2] > 0) == behind:
            disc(pixels[_NOSE_AT], 0.13, _NOSE_SHADE)
        for start in (_EARS_AT, _EARS_AT + 2 * _EAR_CORNERS):
            middle = start + _EAR_CORNERS
            if (points[start, 2] + points[start + _EAR_CORNERS // 2, 2] > 0) == behind:
                fill(pixels[start:middle], _EAR_SHADE)
                fill(pixels[middle:middle + _EAR_CORNERS], _INNER_EAR_SHADE)

    draw_ring(ink, _RING_SHADE)
    ahead = rotation[:2, 0]
    level = math.hypot(*ahead)
    if level > 0.1:  # straight up or down there is no heading
        disc(_fixed_point(_CAMERA[:, :2] @ ahead / level, size), 0.10, 255)
    nose_and_ears(behind=True)
    for index, face in enumerate(_FACES):
        if facing[index]:
            fill(pixels[face], int(shades[index]))
    for eye in range(len(_EYES)):
        if facing[len(_FACES) + eye]:
            disc(pixels[_EYE_AT + eye], 0.08, _EYE_SHADE)
    nose_and_ears(behind=False)


def _fixed_point(picture: _Points, size: int) -> NDArray[np.int32]:
    """Return picture coordinates (.., 3), 1 at the ring, as fixed-point pixels (.., 2)."""
    pixels = size / 2 - 0.5 + _RING_SIZE * size * picture[..., :2] * (1, -1)
    return np.rint(pixels * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def draw_ring(ink: NDArray[np.uint8], shade: int) -> None:
    """Draw the level ring into a square image (n, n)."""
    size = ink.shape[0]
    unit = 1 << _SUBPIXEL_BITS
    center = round((size / 2 - 0.5) * unit)
    radius = _RING_SIZE * size * unit
    cv2.ellipse(ink, (center, center), (round(radius), round(radius * math.sin(_ELEVATION))),
                0, 0, 360, (shade,), max(1, round(size / 60)), cv2.LINE_AA, _SUBPIXEL_BITS)
