# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A check of a recording that is too long to read all of it."""
from pathlib import Path
from typing import Any

from miniscope_ros.commands.export_bag import DONE, main, NOT_GOOD
from miniscope_ros.recordings.bag.contents import read_session
from miniscope_ros.recordings.bag.images import images
from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.sample import sample
from miniscope_ros.recordings.export import check
import numpy as np
import pytest
from recorded_bag import EPOCH_NS, MCAP, Scope, SQLITE, write_bag
from recorded_camera import Camera
from rosbags.rosbag2 import CompressionMode, StoragePlugin


class Lit(Scope):
    """Its pictures are brighter from frame 30 on."""

    def image(self, number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.full(self.size[::-1], 120 if number >= 30 else 60, np.uint8)


@pytest.fixture(name='long')
def fixture_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have any recording count as long."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check, '_READ_WHOLE', 0)
    monkeypatch.setattr(check, '_PICTURES', 20)


@pytest.mark.parametrize('storage', [MCAP, SQLITE])
@pytest.mark.parametrize('compression', [CompressionMode.NONE, CompressionMode.MESSAGE,
                                         CompressionMode.FILE])
@pytest.mark.parametrize('files', [1, 3])
def test_the_pictures_looked_at_are_those_of_their_rows(
        tmp_path: Path, storage: StoragePlugin, compression: CompressionMode, files: int) -> None:
    bag = Bag(write_bag(
        tmp_path / 'bag', Scope(frames=50, lost={7: 2}),
        Scope(node='/other', frames=35, seed=5, start_ns=EPOCH_NS + 400_000_000),
        storage=storage, compression=compression, files=files))
    session = read_session(bag, lambda progress: None)
    found = {(acquisition.name, row): pixels for acquisition, row, pixels in sample(
        bag, session.acquisitions, 7, session.places)}
    everything = {(acquisition.name, row): pixels for acquisition, row, pixels in images(
        bag, session.acquisitions) if row % 7 == 0}
    assert len(found) == 8 + 5 and found.keys() == everything.keys()
    assert all(np.array_equal(found[key], everything[key]) for key in found)
    assert not bag.problems


def test_it_says_how_much_was_looked_at(
        tmp_path: Path, long: None, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(), Camera(node='/side', frames=60))
    assert main(['--check', str(bag)]) == DONE
    text = capsys.readouterr().out
    assert text.count('one picture in 3, and no checksum') == 2
    assert (tmp_path / 'bag_report.png').exists()
    assert main(['--check', '--all', str(bag)]) == DONE
    assert 'one picture in' not in capsys.readouterr().out


@pytest.mark.parametrize('change', [None, (29, 30.0), (12, 30.0)])
def test_a_jump_between_two_of_them_is_found_with_its_cause(
        tmp_path: Path, long: None, capsys: pytest.CaptureFixture[str],
        change: tuple[int, float] | None) -> None:
    bag = write_bag(tmp_path / 'bag', Lit(led_change=change))
    explained = change is not None and change[0] == 29
    assert main(['--check', str(bag)]) == (DONE if explained else NOT_GOOD)
    text = capsys.readouterr().out
    if explained:
        assert 'from 60.0 to 120.0 at frame 30 (0:00:01.5), after led was set to 30' in text
    else:
        assert 'the brightness jumps from 60.0 to 120.0 at frame 30' in text
