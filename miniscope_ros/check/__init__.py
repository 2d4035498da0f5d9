# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks of a real scope: does every assumption about it hold? See the command check_scope."""
