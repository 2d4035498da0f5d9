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
    if any(not is_camera(acquisition) for acquisition in everything):
        for number, camera in enumerate(filter(is_camera, everything)):
            camera.name = f'BehavCam_{number}'
    return everything
