# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Settings of Sphinx: `make docs` builds these pages into build/docs."""
from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

project = 'miniscope_ros'
author = 'miniscope_ros contributors'
copyright = f'2026 {author}'  # noqa: A001

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinxcontrib.mermaid',
]
html_theme = 'furo'
html_title = project
exclude_patterns = ['_build']
# The README is read on its own, too: its links to files are those of the repository.
suppress_warnings = ['myst.xref_missing']
myst_enable_extensions = ['colon_fence', 'deflist']
myst_heading_anchors = 3
myst_fence_as_directive = ['mermaid']
nitpicky = False

autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_default_options = {'members': True, 'show-inheritance': True}
# What only a ROS 2 has; the pages of the API are about the layers below the node.
autodoc_mock_imports = ['rclpy', 'miniscope_msgs', 'cv_bridge']
