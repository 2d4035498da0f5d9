# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""docs/parameters.md is what the node's own descriptors say."""
from pathlib import Path

from miniscope_ros.node.parameter_table import page

FILE = Path(__file__).parents[2] / 'docs' / 'parameters.md'


def test_the_page_is_that_of_the_parameters() -> None:
    assert FILE.read_text() == page(), (
        'write it anew: python3 -m miniscope_ros.node.parameter_table > docs/parameters.md')
