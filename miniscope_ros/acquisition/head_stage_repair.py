# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Sets a head stage up again after it has restarted, and reports that."""

from __future__ import annotations

import logging
import time

from miniscope_ros.acquisition.frame_handler import FrameHandler
from miniscope_ros.acquisition.frame_intake import FrameIntake
from miniscope_ros.acquisition.head_stage import HeadStage
from miniscope_ros.sources.source import Source

_log = logging.getLogger(__name__)


class HeadStageRepair:
    """Acts on what HeadStage has found; the capture thread calls it after each frame."""

    def __init__(self, source: Source, handler: FrameHandler, intake: FrameIntake) -> None:
        self._source = source
        self._handler = handler
        self._intake = intake
        self._restarts_reported = 0
        self._reported_error = ''  # the last one

    def tend(self) -> None:
        """Set the head stage up again if it has restarted and an attempt is due."""
        stage, now_s = self._handler.head_stage, time.monotonic()
        if stage.due(now_s):
            self._report_restart(stage)
            self._handler.begin_repair(now_s)
            self._source.reinitialise_head_stage(dark=stage.went_dark)
            self._intake.take_events()
            self._handler.end_repair()
        if stage.error != self._reported_error:
            self._reported_error = stage.error
            if stage.error:
                _log.error('%s', stage.error)

    def _report_restart(self, stage: HeadStage) -> None:
        """Log each restart once."""
        if stage.restarts != self._restarts_reported and stage.sign is not None:
            self._restarts_reported = stage.restarts
            _log.warning(
                'the head stage has restarted (%s): its init list and all controls are sent '
                'again; restart %d since the node was configured', stage.sign.value,
                stage.restarts)
