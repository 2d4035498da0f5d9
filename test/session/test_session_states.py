# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The states of a recording are those of its message."""
from miniscope_msgs.msg import RecordingStatus
from miniscope_ros.session.recording import RecordingState


def test_states_have_the_numbers_of_the_message() -> None:
    for state in RecordingState:
        assert getattr(RecordingStatus, state.name) == state
