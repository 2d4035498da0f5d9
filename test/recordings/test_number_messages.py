# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Messages of numbers, decoded at once, are those that rosbags decodes field by field."""
import math
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from miniscope_ros.node.cdr import FRAME_INFO, ORIENTATION_ROW, packer
from miniscope_ros.recordings.bag.number_messages import numbers_layout
import pytest
from recorded_bag import our_types

TYPES = our_types()
INFO, ROW = 'miniscope_msgs/msg/FrameInfo', 'miniscope_msgs/msg/OrientationRow'
LAYOUTS = {INFO: FRAME_INFO, ROW: ORIENTATION_ROW}


def serialized(msgtype: str, content: bytes, frame_id: str = 'miniscope_optical_frame') -> bytes:
    """Return a message whose numbers are made of some bytes."""
    row = struct.Struct(f'<{LAYOUTS[msgtype]}')
    return packer(frame_id, LAYOUTS[msgtype])(
        7, 8, *row.unpack((content * row.size)[:row.size]))


def equal(first: Any, second: Any) -> bool:
    return first == second or math.isnan(first) and math.isnan(second)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(LAYOUTS)), st.binary(min_size=1, max_size=128),
       st.text('abc_/', max_size=9))
def test_the_numbers_are_those_of_the_message(
        msgtype: str, content: bytes, frame_id: str) -> None:
    layout = numbers_layout(TYPES.fielddefs, msgtype, serialized(msgtype, b'\0', frame_id))
    data = serialized(msgtype, content, frame_id)
    found, expected = layout.decode(data), TYPES.deserialize_cdr(data, msgtype)
    fields = [name for name, _ in TYPES.fielddefs[msgtype][1]]
    assert set(fields) - set(found._fields) <= {'header', 'receive_time'}
    assert all(equal(getattr(found, name), getattr(expected, name)) for name in found._fields)


@pytest.mark.parametrize('msgtype', sorted(LAYOUTS))
def test_a_message_of_another_layout_is_left_to_rosbags(msgtype: str) -> None:
    data = serialized(msgtype, b'\1')
    layout = numbers_layout(TYPES.fielddefs, msgtype, data)
    assert layout.decode(data) is not None
    for other in (data[:-1], data + b'\0', b'\0\0' + data[2:], b'',
                  serialized(msgtype, b'\1', 'miniscope_optical_frams')):
        assert layout.decode(other) is None


def test_a_message_of_other_fields_has_no_such_layout() -> None:
    text = TYPES.types['std_msgs/msg/String'](data='a')
    data = bytes(TYPES.serialize_cdr(text, 'std_msgs/msg/String'))
    assert numbers_layout(TYPES.fielddefs, 'std_msgs/msg/String', data) is None
    info = serialized(INFO, b'\1')
    assert numbers_layout(TYPES.fielddefs, INFO, info[:-8]) is None  # an older version of it
