# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The lines of docs/export.md that align with another recorder run."""
from pathlib import Path
import re
import shlex
from typing import Any

from edge_files import write_intan, write_open_ephys, write_spikeglx
from miniscope_ros.commands.export_bag import DONE, main
import numpy as np
import pytest
from recorded_bag import Scope, write_bag
from sync_rig import UNFINISHED

try:
    import h5py
    import neo
except ImportError:
    h5py = neo = None

pytestmark = pytest.mark.skipif(
    h5py is None or neo is None, reason='h5py or neo is not installed')
PAGE = Path(__file__).parents[2] / 'docs' / 'export.md'
COMMAND = 'ros2 run miniscope_ros export_bag '


def commands() -> list[list[str]]:
    """Return the arguments of each call in the section on aligning."""
    section = PAGE.read_text().partition('## Aligning')[2].partition('\n## ')[0]
    blocks = ''.join(re.findall(r'```sh\n(.*?)```', section, re.S)).replace('\\\n', ' ')
    return [shlex.split(line.removeprefix(COMMAND)) for line in blocks.splitlines()
            if line.startswith(COMMAND)]


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what stands in /data of the page."""
    folder = tmp_path_factory.mktemp('data')
    scope = Scope(frames=240, size=(16, 16), lost=UNFINISHED)
    write_bag(folder / 'mouse7_day3', scope)
    edges: Any = np.array([scope.time_ms(n) / 1000 for n in range(240)]) + 3
    write_open_ephys(folder / 'open_ephys', edges)
    for name in ('intan', 'spikeglx'):
        (folder / name).mkdir()
    write_intan(folder / 'intan', edges).rename(folder / 'intan' / 'mouse7_261127_120000.rhd')
    write_spikeglx(folder / 'spikeglx', edges)
    with h5py.File(folder / 'ephys.nwb', 'w') as file:
        file['acquisition/sync/timestamps'] = edges
    np.savetxt(folder / 'edges.csv', edges)
    return folder


def test_every_format_has_its_lines() -> None:
    assert len(commands()) == 6


@pytest.mark.parametrize('arguments', commands(), ids=lambda arguments: arguments[1])
def test_a_line_of_the_page(arguments: list[str], data: Path, tmp_path: Path,
                            capsys: pytest.CaptureFixture[str]) -> None:
    bag, out, *rest = (text.replace('/data', str(data)) for text in arguments)
    assert main([bag, str(tmp_path / out), *rest]) == DONE
    assert '240 of 240 frames and of 240 edges are matched' in capsys.readouterr().out
    assert {'aligned.csv', 'aligned.png'} <= {
        path.name for path in (tmp_path / out / 'miniscope').iterdir()}
