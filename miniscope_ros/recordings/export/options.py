# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What is to be exported, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """The command line of export_bag."""

    bag: Path
    out: Path | None = None  # None: only report whether the recording is good
    formats: tuple[str, ...] = ('miniscope_daq',)
    codec: str = 'ffv1'
    frames_per_file: int = 1000
    animal: str = ''
    metadata: Path | None = None  # of the session
    align: str = ''  # sync edges as another recorder saw them: FILE or ACQUISITION=FILE
    align_channel: str = ''  # the channel of that file
    force: bool = False
    repair: bool = False  # a copy with misplaced blocks in order, beside the videos
    all: bool = False  # a check reads all of a long recording, too

    @property
    def bag_name(self) -> str:
        """Return the recording's name."""
        return self.bag.resolve().name if self.bag.is_dir() else self.bag.stem
