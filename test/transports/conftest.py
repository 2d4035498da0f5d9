# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What tests of transports need in addition."""
from box_client import MakeRig
import pytest
from virtual_daq import VirtualDaq


@pytest.fixture
def rig(make_rig: MakeRig) -> VirtualDaq:
    """Plug one box in; the computer's kernel answers from its cache."""
    return make_rig(kernel='new_kernel')
