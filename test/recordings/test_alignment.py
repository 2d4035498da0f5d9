# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Sync edges that another recorder saw belong to the right frames, or are refused."""
from pathlib import Path

import cv2
from exported_tables import read_table
from miniscope_ros.commands.export_bag import DONE, FAILED, main
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.edges.formats import read_edges
from miniscope_ros.recordings.export.alignment import align
import numpy as np
import pytest
from recorded_bag import Scope, write_bag
from sync_rig import DRIFT, OFFSET_S, Rig, UNFINISHED


def test_three_hours_with_losses_drift_and_jitter() -> None:
    rig = Rig()
    found = align(rig.frame_s, rig.index, rig.edges_s)
    assert len(found.frame) == len(rig.frame_s)  # all are matched
    assert np.array_equal(found.edge, rig.index[found.frame])
    error_s = found.times_s - rig.truth_s[rig.index]
    # The time of a frame is its own stamp, jitter and all, on the other clock; what the
    # alignment adds is the line.
    line = OFFSET_S + rig.frame_s * (1 + DRIFT)
    assert np.abs(found.times_s - line).max() < 1e-4
    assert np.sqrt(np.mean(error_s ** 2)) < 1e-3
    assert abs(found.offset_s - OFFSET_S) < 5 * found.offset_error_s
    assert abs(found.drift - DRIFT) < 5 * found.drift_error
    assert found.offset_error_s < 1e-5 and found.drift_error < 1e-8


@pytest.mark.parametrize('begin, end', [(0, -1), (17, None), (5000, 20000), (0, 9000)])
def test_another_recorder_that_saw_a_part(begin: int, end: int | None) -> None:
    rig = Rig(hours=0.25)
    found = align(rig.frame_s, rig.index, rig.edges_s[begin:end])
    assert np.array_equal(found.edge + begin, rig.index[found.frame])
    assert np.abs(found.times_s - (OFFSET_S + rig.frame_s * (1 + DRIFT))).max() < 1e-3


def test_another_recorder_that_missed_some() -> None:
    rig = Rig(hours=0.5)
    kept = np.random.default_rng(5).random(len(rig.edges_s)) > 0.01
    found = align(rig.frame_s, rig.index, rig.edges_s[kept])
    assert np.array_equal(np.flatnonzero(kept)[found.edge], rig.index[found.frame])


def test_edges_without_a_pattern_are_known_by_their_number_only() -> None:
    rig = Rig(hours=0.1, lost=0.0)
    found = align(rig.frame_s, rig.index, rig.edges_s)
    assert np.array_equal(found.edge, rig.index)
    with pytest.raises(ConfigurationError, match='too regular'):
        align(rig.frame_s, rig.index, rig.edges_s[1:])
    with pytest.raises(ConfigurationError, match='too regular'):
        align(rig.frame_s, rig.index, rig.edges_s[:-1])


def test_a_file_of_another_recording_is_refused() -> None:
    rig, other = Rig(hours=0.25), Rig(hours=0.25, seed=2)
    with pytest.raises(ConfigurationError):
        align(rig.frame_s, rig.index, other.edges_s)


@pytest.mark.parametrize('change, said', [
    (lambda edges: edges[::2], 'not both directions'), (lambda edges: edges * 1000, 'in seconds'),
    (lambda edges: edges * 1.01, ''), (lambda edges: edges[:10], 'at least 20'),
    (lambda edges: np.sort(edges + np.random.default_rng(1).uniform(0, 0.03, len(edges))), '')])
def test_a_file_that_cannot_be_is_refused(change, said: str) -> None:
    rig = Rig(hours=0.1)
    with pytest.raises(ConfigurationError, match=said):
        align(rig.frame_s, rig.index, change(rig.edges_s))


@pytest.mark.parametrize('text, said', [
    ('time\n1\n2\nx\n', 'line 4'), ('1\n3\n2\n', 'have to rise'), ('1\nnan\n', 'no number')])
def test_a_table_that_is_no_list_of_times(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / 'edges.csv'
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_edges(file)


def test_times_are_read_from_the_first_column(tmp_path: Path) -> None:
    file = tmp_path / 'edges.csv'
    file.write_text('time [s],level\n0.5,1\n0.75,0\n')
    assert read_edges(file).tolist() == [0.5, 0.75]


def test_an_export_on_the_other_clock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scope = Scope(frames=240, size=(16, 16), lost=UNFINISHED)
    bag = write_bag(tmp_path / 'bag', scope)
    edges = np.array([scope.time_ms(n) / 1000 for n in range(240)]) * (1 + DRIFT) + OFFSET_S
    file = tmp_path / 'edges.csv'
    np.savetxt(file, edges[3:], header='time', comments='')
    assert main([str(bag), str(tmp_path / 'out'), '--align', str(file)]) == DONE
    table = read_table(tmp_path / 'out' / 'miniscope' / 'aligned.csv')
    assert table['Other Edge'].tolist() == [-1] * 3 + list(range(237))
    assert table['Other Clock (s)'].to_numpy() == pytest.approx(edges, abs=1e-3)
    assert '237 of 240 frames' in capsys.readouterr().out
    picture = cv2.imread(str(tmp_path / 'out' / 'miniscope' / 'aligned.png'))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10  # something is drawn
    np.savetxt(file, edges * 1000)
    assert main([str(bag), str(tmp_path / 'out2'), '--align', str(file)]) == FAILED
    assert 'or not in seconds' in capsys.readouterr().err
    assert not (tmp_path / 'out2').exists()
