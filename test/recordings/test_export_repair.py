# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""--repair writes a copy beside what was published, and a list of what it did."""
import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from miniscope_ros.commands.export_bag import DONE, main
from miniscope_ros.model import Content
import numpy as np
from picture_damage import misplace
from picture_scenes import scene_frames
import pytest
from recorded_bag import Scope, write_bag

FRAMES = 12
SCENE = list(scene_frames(FRAMES))


@dataclass
class Damaged(Scope):
    """A scope some of whose frames came with their blocks misplaced."""

    frames: int = FRAMES
    size: tuple[int, int] = (608, 608)
    kinds: dict[int, str] = field(default_factory=dict)  # of damage, by frame

    def __post_init__(self) -> None:
        rng = np.random.default_rng(2)
        self.content = dict.fromkeys(self.kinds, int(Content.BLOCKS_MISPLACED))
        self.published = [
            misplace(self.kinds[number], SCENE[number - 1], image, rng)
            if number in self.kinds else image for number, image in enumerate(SCENE)]

    def image(self, number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return self.published[number]


def frames_of(folder: Path) -> list[np.ndarray[Any, Any]]:
    frames: list[np.ndarray[Any, Any]] = []
    for file in sorted(folder.glob('*.avi'), key=lambda one: int(one.stem)):
        video = cv2.VideoCapture(str(file))
        while (frame := video.read()[1]) is not None:
            frames.append(frame[:, :, 0])
        video.release()
    return frames


def equal(frames: list[np.ndarray[Any, Any]], others: list[np.ndarray[Any, Any]]) -> bool:
    return len(frames) == len(others) and all(map(np.array_equal, frames, others))


def test_repaired_frames_stand_beside_the_published_ones(tmp_path: Path) -> None:
    scope = Damaged(kinds={3: 'one pair', 5: 'all pairs', 8: 'overwritten'})
    out = tmp_path / 'out'
    bag = write_bag(tmp_path / 'bag', scope)
    assert main([str(bag), str(out), '--repair', '--frames-per-file', '5']) == DONE
    assert equal(frames_of(out / 'miniscope'), scope.published)
    truth = [scope.published[8] if number == 8 else image for number, image in enumerate(SCENE)]
    assert equal(frames_of(out / 'miniscope' / 'repaired'), truth)
    with (out / 'miniscope' / 'repaired' / 'repairs.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['Frame Number'], row['Repaired']) for row in rows] == [
        ('3', '1'), ('5', '1'), ('8', '0')]
    for row in rows[:2]:
        assert sorted(map(int, row['Blocks'].split())) == list(range(608 * 608 // 8184))
    assert not rows[2]['Blocks']
    assert 'repaired      2 of 3 frames with misplaced blocks' in (out / 'report.txt').read_text()
    # A second export of the same kind replaces the first one, the copy included.
    assert main([str(bag), str(out), '--force']) == DONE
    assert not (out / 'miniscope' / 'repaired').exists()


def test_without_misplaced_blocks_there_is_no_copy(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(frames=4))
    assert main([str(bag), str(tmp_path / 'out'), '--repair']) == DONE
    assert not (tmp_path / 'out' / 'miniscope' / 'repaired').exists()


@pytest.mark.parametrize('options', [('--format', 'nwb'), ('--check',)])
def test_repair_without_videos_is_refused(
        options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(frames=2))
    out = () if '--check' in options else (str(tmp_path / 'out'),)
    with pytest.raises(SystemExit) as ended:
        main([str(bag), *out, *options, '--repair'])
    assert ended.value.code == 2
    assert '--repair writes videos' in capsys.readouterr().err
