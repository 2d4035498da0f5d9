# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Notes of a request are session data or text, whatever is in them."""
from miniscope_ros.session.notes import session_data
import pytest


def test_a_mapping_is_session_data() -> None:
    assert session_data('animal: m2\nage: 7\n') == {'animal': 'm2', 'age': 7}


@pytest.mark.parametrize('notes', [
    '', 'a fine day', '[' * 100_000, '{a: [' * 1000, 'born: 2026-99-99', 'animal: [m1]', '\0',
    'age: !!int ""', 'awake: !!bool maybe', 'born: !!timestamp May'])
def test_all_else_is_text(notes: str) -> None:
    assert session_data(notes) == {}
