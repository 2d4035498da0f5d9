# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Darkness whatever happens to the program: the note of what is open, and the watcher."""
