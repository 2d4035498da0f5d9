# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""export_bag --verify: an untouched recording passes, and each kind of change is named."""
from collections.abc import Callable
import json
from pathlib import Path
import shutil

from miniscope_ros.commands.export_bag import main as export_bag
from miniscope_ros.recordings import certificate
import pytest
from recording_sessions import only_bag, session_node, SIMULATED, write_session

FRAMES = 60  # their images are 22 MB, so a file of 8 MB ends twice


@pytest.fixture(scope='module')
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording of several files."""
    folder = tmp_path_factory.mktemp('recorded')
    # Without auto_start every frame that is heard belongs to the recording.
    file = write_session(folder, {'a': {**SIMULATED, 'auto_start': False}}, record={
        'recorder': 'builtin', 'split_gb': 0.008})
    with session_node(file, '--programs', '--start') as session:
        session.ear.wait_for(session.ear.listen('frame_info'), FRAMES)
        assert session.stop().success
        assert session.node.stop() == 0
    return only_bag(folder / 'bags')


@pytest.fixture
def bag(recorded: Path, tmp_path: Path) -> Path:
    """Return a copy of it that may be changed."""
    return Path(shutil.copytree(recorded, tmp_path / 'bag'))


def first(bag: Path) -> Path:
    return certificate.mcap_files(bag)[0]


def flip_a_bit(bag: Path) -> None:
    content = bytearray(first(bag).read_bytes())
    content[len(content) // 2] ^= 1
    first(bag).write_bytes(content)


def cut_off(bag: Path) -> None:
    content = first(bag).read_bytes()
    first(bag).write_bytes(content[:len(content) // 2])


def claim(bag: Path) -> None:
    path = bag / certificate.NAME
    content = json.loads(path.read_text())
    content['topics']['/a/image_raw']['recorded'] += 1
    path.write_text(json.dumps(content))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    'bit': (flip_a_bit, 'was changed since it was recorded'),
    'cut': (cut_off, 'was cut off'),
    'deleted': (lambda bag: first(bag).unlink(), 'is missing'),
    'added': (lambda bag: shutil.copy(first(bag), bag / 'bag_99.mcap'), 'was added'),
    'count': (claim, '/a/image_raw: the bag holds'),
    'metadata': (lambda bag: (bag / 'metadata.yaml').write_text('{}'), 'metadata.yaml has 2 byt'),
    'certificate': (lambda bag: (bag / certificate.NAME).unlink(), 'certificate.json is missing'),
}


def test_an_untouched_recording_passes(bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export_bag(['--verify', str(bag)]) == 0
    assert 'every message accounted for' in capsys.readouterr().out


@pytest.mark.parametrize('change', CHANGES)
def test_a_change_is_named(
        change: str, bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    act, said = CHANGES[change]
    act(bag)
    assert export_bag(['--verify', str(bag)]) in (1, 3)
    assert said in capsys.readouterr().err


def test_a_split_recording_is_exported_as_one(bag: Path, tmp_path: Path) -> None:
    assert len(certificate.mcap_files(bag)) > 2
    assert export_bag([str(bag), str(tmp_path / 'out')]) == 0
    rows = (tmp_path / 'out' / 'a' / 'timeStamps.csv').read_text().splitlines()[1:]
    published = certificate.read(bag)['scopes']['/a']['published']
    assert published >= FRAMES
    assert [int(row.split(',')[0]) for row in rows] == list(range(published))
