# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Write what really happened in a recorded session of a simulated scope.

Exit status: 0 written; 1 not written, standard error says why; 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

from miniscope_ros.errors import MiniscopeError
from miniscope_ros.installing import why_missing


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit status."""
    options = _parse(arguments)
    try:
        return _run(options)
    except ModuleNotFoundError as error:
        _say(why_missing((str(error.name).partition('.')[0], 'pynwb', 'rosbags'), {}))
    except (MiniscopeError, OSError) as error:
        _say(str(error))
    return 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='ground_truth', description='Write the cells, their activity and spikes, the motion '
        'and the orientation behind a recording of a simulated scope, as OUT.npz and OUT.nwb.')
    parser.add_argument('bag', metavar='BAG', type=Path, help='the recording')
    parser.add_argument('out', metavar='OUT', type=Path,
                        help='what to write, without its ending; OUT.npz or OUT.nwb writes one')
    parser.add_argument('--device', metavar='OPTIONS',
                        help="the scope's parameter device, as seed=3,motion=0.5; needed where "
                             'the recording does not hold it')
    parser.add_argument('--scope', default='', metavar='NAME',
                        help='which scope or acquisition, where there are several')
    parser.add_argument('--force', action='store_true', help='replace files that exist')
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> int:
    from miniscope_ros.recordings.bag.reader import Bag
    from miniscope_ros.recordings.export import ground_truth
    from miniscope_ros.simulation.scene import Strengths
    from miniscope_ros.sources.registry import simulation_options

    files = _files(options.out)
    for file in files:
        if file.exists() and not options.force:
            raise MiniscopeError(f'{file} exists; choose another name, or replace it with --force')
    bag = Bag(options.bag)
    acquisition, recorded = ground_truth.recorded_device(bag, options.scope)
    device = recorded if options.device is None else options.device
    if device is None:
        _say('the recording does not hold the parameter device of the scope; it is taken for the '
             "default, seed 1 (--device 'seed=3' names another)")
    chosen = simulation_options(device or '')
    truth = ground_truth.truth_of(
        bag, acquisition, int(chosen['seed']),
        Strengths(**{name: chosen[name] for name in Strengths.__dataclass_fields__}))
    for file in files:
        if file.suffix == '.npz':
            ground_truth.write_npz(file, truth)
        else:
            ground_truth.write_nwb(file, truth, acquisition)
        print(f'{file}: {len(truth.positions)} cells, {len(truth.time_s)} frames, '
              f'{len(truth.spike_cell)} transients')
    return 0


def _files(out: Path) -> list[Path]:
    if out.suffix in ('.npz', '.nwb'):
        return [out]
    return [out.with_name(out.name + ending) for ending in ('.npz', '.nwb')]


def _say(text: str) -> None:
    print(f'ground_truth: {text}', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
