# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Files of other recorders that are wrong, damaged or cut off are refused with the reason."""
from collections.abc import Callable
from pathlib import Path
import subprocess
import sys
from typing import Any

from edge_files import intan_header, STREAM, write_intan, write_open_ephys, write_spikeglx
from miniscope_ros.commands.export_bag import DONE, FAILED, main
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.installing import pip_install
from miniscope_ros.recordings.edges.formats import read_edges
from miniscope_ros.recordings.export.alignment import align
import numpy as np
import pytest
from recorded_bag import Scope, write_bag
from sync_rig import OFFSET_S, Rig, UNFINISHED

try:
    import h5py
    import neo
except ImportError:
    h5py = neo = None

pytestmark = pytest.mark.skipif(
    h5py is None or neo is None, reason='h5py or neo is not installed')
EVENTS = Path('Record Node 104', 'experiment1', 'recording1', 'events', STREAM, 'TTL')


def write_nwb(folder: Path, edges: Any) -> Path:
    with h5py.File(folder / 'e.nwb', 'w') as file:
        file['acquisition/sync/timestamps'] = edges
        file['acquisition/sync/data'] = np.arange(len(edges)) % 2
    return folder / 'e.nwb'


def csv(folder: Path, edges: Any) -> Path:
    np.savetxt(folder / 'e.csv', edges)
    return folder / 'e.csv'


WRITERS: dict[str, Callable[[Path, Any], Path]] = {
    'csv': csv, 'nwb': write_nwb, 'open ephys': lambda folder, edges: write_open_ephys(
        folder / 'oe', edges), 'intan': write_intan, 'spikeglx': write_spikeglx}


@pytest.mark.parametrize('write', WRITERS.values(), ids=WRITERS.keys())
def test_the_file_of_another_recording(tmp_path: Path, write: Callable[[Path, Any], Path],
                                       ) -> None:
    rig, other = Rig(hours=0.2), Rig(hours=0.2, seed=2)
    file = write(tmp_path, other.edges_s - OFFSET_S + 3)
    with pytest.raises(ConfigurationError, match='not the file of this recording'):
        align(rig.frame_s, rig.index, read_edges(file))


@pytest.mark.parametrize('write', WRITERS.values(), ids=WRITERS.keys())
def test_a_shifted_file(tmp_path: Path, write: Callable[[Path, Any], Path]) -> None:
    """From its middle on, it is three frames late: as if the frames before were of another day."""
    rig = Rig(hours=0.2)
    edges = rig.edges_s - OFFSET_S + 3
    edges = np.concatenate((edges[:9000], edges[9000:] + 3.4 / 30))
    file = write(tmp_path, edges)
    with pytest.raises(ConfigurationError, match='not the file of this recording'):
        align(rig.frame_s, rig.index, read_edges(file))


def cut(file: Path, share: float = 0.6) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:round(len(data) * share) | 1])


def overwrite(file: Path, at: int, data: bytes) -> None:
    with file.open('r+b') as stream:
        stream.seek(at)
        stream.write(data)


def truncated_nwb(folder: Path, edges: Any) -> Path:
    cut(write_nwb(folder, edges))
    return folder / 'e.nwb'


def truncated_events(folder: Path, edges: Any) -> Path:
    cut(write_open_ephys(folder / 'oe', edges) / EVENTS / 'states.npy')
    return folder / 'oe'


def other_length(folder: Path, edges: Any) -> Path:
    file = write_open_ephys(folder / 'oe', edges) / EVENTS / 'timestamps.npy'
    np.save(file, np.load(file)[:-1])
    return folder / 'oe'


def no_rate(folder: Path, edges: Any) -> Path:
    write_open_ephys(folder / 'oe', edges, '0.5')
    file, = folder.rglob('structure.oebin')
    file.write_text(file.read_text().replace(STREAM, 'another'))
    return folder / 'oe'


def broken_json(folder: Path, edges: Any) -> Path:
    write_open_ephys(folder / 'oe', edges, '0.5')
    cut(next(folder.rglob('structure.oebin')))
    return folder / 'oe'


def backward_events(folder: Path, edges: Any) -> Path:
    return write_open_ephys(folder / 'oe', np.concatenate((edges[:50], edges[49:])))


def truncated_intan(folder: Path, edges: Any) -> Path:
    cut(write_intan(folder, edges))
    return next(folder.glob('*.rhd'))


def cut_header(folder: Path, edges: Any) -> Path:
    cut(write_intan(folder, edges), 0.0005)
    return next(folder.glob('*.rhd'))


def other_magic(folder: Path, edges: Any) -> Path:
    overwrite(write_intan(folder, edges), 0, b'RIFF')
    return next(folder.glob('*.rhd'))


def zeros_in_intan(folder: Path, edges: Any) -> Path:
    file = write_intan(folder, edges)
    overwrite(file, len(intan_header('rhd', (3, 0))) + 3 * 1536, bytes(1536))
    return file


def short_digital_file(folder: Path, edges: Any) -> Path:
    cut(write_intan(folder, edges, layout='signal') / 'digitalin.dat')
    return folder


def no_time_file(folder: Path, edges: Any) -> Path:
    (write_intan(folder, edges, layout='channel') / 'time.dat').unlink()
    return folder


def truncated_spikeglx(folder: Path, edges: Any) -> Path:
    cut(write_spikeglx(folder, edges).with_suffix('.bin'))
    return folder


def meta_of_another(folder: Path, edges: Any) -> Path:
    file = write_spikeglx(folder, edges)
    file.write_text(file.read_text().replace('nSavedChans=3', 'nSavedChans=5'))
    return file


def no_sample_rate(folder: Path, edges: Any) -> Path:
    file = write_spikeglx(folder, edges)
    file.write_text(file.read_text().replace('niSampRate', 'niRate'))
    return file


def no_bin(folder: Path, edges: Any) -> Path:
    file = write_spikeglx(folder, edges)
    file.with_suffix('.bin').unlink()
    return file


DAMAGED = {
    truncated_nwb: 'truncated', truncated_events: 'states.npy is damaged or truncated',
    other_length: r'states and \d+ times', no_rate: 'has no sample rate of',
    broken_json: 'structure.oebin is damaged', backward_events: 'have to rise, and number 51',
    truncated_intan: 'is truncated', cut_header: 'header of .* is damaged or truncated',
    other_magic: 'is no Intan file', zeros_in_intan: 'damaged: at 0.192 s sample 0 stands where',
    short_digital_file: 'truncated', no_time_file: 'time.dat cannot be read: No such file',
    truncated_spikeglx: 'is truncated', meta_of_another: '5 channels, 3 names',
    no_sample_rate: 'nan samples/s', no_bin: 'nidq.bin cannot be read: No such file'}


@pytest.mark.parametrize('make', DAMAGED, ids=lambda make: make.__name__)
def test_a_damaged_file(tmp_path: Path, make: Callable[[Path, Any], Path]) -> None:
    file = make(tmp_path, 1 + np.arange(300) / 30)
    with pytest.raises(ConfigurationError, match=DAMAGED[make]):
        read_edges(file)


@pytest.mark.parametrize('channel, signal', [('XA0', 'noise'), ('XD0.2', 'nothing')])
def test_a_channel_without_edges(tmp_path: Path, channel: str, signal: str) -> None:
    file = write_spikeglx(tmp_path, 1 + np.arange(300) / 30)
    if signal == 'noise':
        with pytest.raises(ConfigurationError, match='does not have two levels'):
            read_edges(file, channel)
    else:
        assert len(read_edges(file, channel)) == 0


def test_any_byte_of_a_header_may_be_wrong(tmp_path: Path) -> None:
    """A file is read or refused; nothing else may come of it."""
    file = write_intan(tmp_path, 1 + np.arange(30) / 30)
    whole = file.read_bytes()
    refused = 0
    for place in range(0, len(intan_header('rhd', (3, 0))), 3):
        overwrite(file, place, b'\xff')
        try:
            read_edges(file, 'DIGITAL-IN-02')
        except ConfigurationError:
            refused += 1
        overwrite(file, place, whole[place:place + 1])
    assert refused > 10
    assert len(read_edges(file, 'DIGITAL-IN-02')) == 30


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp('synced') / 'bag', synced_scope())


def synced_scope() -> Scope:
    return Scope(frames=240, size=(16, 16), lost=UNFINISHED)


def synced_edges() -> Any:
    return np.array([synced_scope().time_ms(n) / 1000 for n in range(240)]) + 3


@pytest.mark.parametrize('name', WRITERS)
def test_an_export_with_the_file(tmp_path: Path, bag: Path, name: str,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    file = WRITERS[name](tmp_path, synced_edges())
    assert main([str(bag), str(tmp_path / 'out'), '--align', f'miniscope={file}']) == DONE
    assert '240 of 240 frames' in capsys.readouterr().out
    rows = (tmp_path / 'out' / 'miniscope' / 'aligned.csv').read_text().splitlines()
    assert [row.rpartition(',')[2] for row in rows[1:]] == [str(n) for n in range(240)]


@pytest.mark.parametrize('make', [truncated_nwb, truncated_events, truncated_intan, cut_header,
                                  truncated_spikeglx], ids=lambda make: make.__name__)
def test_one_line_and_no_export(tmp_path: Path, bag: Path, capsys: pytest.CaptureFixture[str],
                                make: Callable[[Path, Any], Path]) -> None:
    file = make(tmp_path, synced_edges())
    assert main([str(bag), str(tmp_path / 'out'), '--align', str(file)]) == FAILED
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and said.startswith(f'export_bag: --align {file}: ')
    assert not (tmp_path / 'out').exists()


def test_a_channel_needs_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(['bag', 'out', '--align-channel', '3'])
    assert '--align-channel needs --align' in capsys.readouterr().err


ABSENT = """
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == {library!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

sys.meta_path.insert(0, Absent())
"""


def refusal(bag: Path, file: Path, out: Path, before: str) -> str:
    """Return what an export says in a process that runs some lines before, and fails."""
    code = f"""
import sys
{before}
from miniscope_ros.commands.export_bag import main
sys.exit(main([{str(bag)!r}, {str(out)!r}, '--align', {str(file)!r}]))
"""
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                            timeout=120)
    assert result.returncode == FAILED
    assert not out.exists()
    return result.stderr


@pytest.mark.parametrize('library, write, package', [
    ('neo', write_intan, 'neo>=0.14'), ('h5py', write_nwb, 'h5py')])
def test_a_missing_library_is_named(tmp_path: Path, bag: Path, library: str, write: Any,
                                    package: str) -> None:
    file = write(tmp_path, synced_edges())
    assert refusal(bag, file, tmp_path / 'out', ABSENT.format(library=library)) == (
        f'export_bag: the Python module {library} is missing: {pip_install(package)}\n')


def test_an_older_library_is_not_taken_for_a_damaged_file(tmp_path: Path, bag: Path) -> None:
    """The functions of neo 0.13.0 and before take no file format."""
    folder = tmp_path / 'neo' / 'rawio'
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):
        (package / '__init__.py').touch()
    (folder / 'intanrawio.py').write_text(
        'def read_rhd(filename):\n    return {}, [], [], 0, 60\n\nread_rhs = read_rhd\n')
    file = write_intan(tmp_path, synced_edges())
    assert refusal(bag, file, tmp_path / 'out', f'sys.path.insert(0, {str(tmp_path)!r})') == (
        f'export_bag: --align {file}: the installed neo is too old: '
        f'{pip_install("neo>=0.14")}\n')
