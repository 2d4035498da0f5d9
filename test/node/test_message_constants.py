# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The enums of the driver have the names and numbers of the messages' constants."""
from enum import IntEnum
from typing import Any

from miniscope_msgs.msg import ControlChange, FrameInfo
from miniscope_ros import model
import pytest


@pytest.mark.parametrize(('enum', 'message', 'prefix'), [
    (model.Evidence, FrameInfo, 'EVIDENCE_'),
    (model.ReadingStatus, FrameInfo, 'ORIENTATION_'),
    (model.StampSource, FrameInfo, 'STAMP_'),
    (model.Content, FrameInfo, 'CONTENT_'),
    (model.Reason, ControlChange, 'REASON_'),
])
def test_constants(enum: type[IntEnum], message: Any, prefix: str) -> None:
    constants = {name.removeprefix(prefix): getattr(message, name)
                 for name in dir(message) if name.startswith(prefix)}
    assert constants and {one.name: one.value for one in enum} == constants
