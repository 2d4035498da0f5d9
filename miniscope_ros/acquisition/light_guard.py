# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Close a source so that its light is seen to be off, or say that it is not."""

from __future__ import annotations

import logging
import time

from miniscope_ros.acquisition.reconnect import LOOK_AGAIN
from miniscope_ros.errors import DeviceError, NoLink
from miniscope_ros.sources.source import Source

_log = logging.getLogger(__name__)


def close_dark(source: Source, patience: float = 0.0) -> None:
    """
    Close the source; open a dead one once more if the light may be on.

    patience [s] is how long one that is away is waited for: it may be about to return.
    """
    source.close()
    deadline = time.monotonic() + patience
    waited = False
    while source.may_be_lit:
        try:
            source.make_dark()
        except Exception as error:
            away = isinstance(error, DeviceError) and not isinstance(error, NoLink)
            if not away or time.monotonic() + LOOK_AGAIN > deadline:
                _log.error('THE LIGHT MAY STILL BE ON: %s', error)
                return
            if not waited:
                _log.warning(
                    'the light may be on: waiting up to %g s for the device, to make it '
                    'dark: %s', patience, error)
            waited = True
            time.sleep(LOOK_AGAIN)
    if waited:
        _log.info('the device came back and was made dark')
