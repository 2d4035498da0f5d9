# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The scopes and cameras of a bag, under the names of their folders."""

from __future__ import annotations

from miniscope_ros.recordings.bag.contents import read_session
from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.tables import RecordedAcquisition, RecordedSession
from miniscope_ros.recordings.export.messages import progress_bar

_CAMERA_TYPE = 'camera'  # what our own node of a camera says


def read(bag: Bag) -> RecordedSession:
    """Read all but the pixels; a bar shows how far it is."""
    with progress_bar('reading', 1.0) as progress:
        return read_session(bag, progress)


def is_camera(acquisition: RecordedAcquisition) -> bool:
    """Return whether it is a camera's, of another driver or of ours."""
    return acquisition.is_camera or acquisition.device_type == _CAMERA_TYPE


def name_all(session: RecordedSession) -> list[RecordedAcquisition]:
    """Return scopes and cameras; the cameras are named as Miniscope-DAQ does."""
    everything = [*session.acquisitions, *session.cameras]
    cameras = [one for one in everything if is_camera(one)]
    if len(cameras) == len(everything):  # then a camera of ours keeps the name of its node
        cameras = [one for one in cameras if not one.name]
    by_device: dict[str, list[RecordedAcquisition]] = {}
    for camera in cameras:
        by_device.setdefault(camera.device or camera.topic, []).append(camera)
    for number, acquisitions in enumerate(by_device.values()):
        for count, camera in enumerate(acquisitions, 1):
            camera.device = f'BehavCam_{number}'
            camera.name = camera.device if count == 1 else f'{camera.device}_{count}'
    return everything
