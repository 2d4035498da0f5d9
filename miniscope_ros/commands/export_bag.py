# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Export a rosbag2 recording to what analysis tools read, or only report whether it is good.

Exit status: 0 all is exported; 1 nothing is; 2 the command line is wrong; 3 a part is, and
standard error says what is missing; 4 --check: the report names something to look at; 130
interrupted, and nothing is left behind.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

from miniscope_ros.errors import MiniscopeError
from miniscope_ros.installing import why_missing
from miniscope_ros.recordings.export import interruption
from miniscope_ros.recordings.export.exit_status import ExitStatus

_FORMATS = ('miniscope_daq', 'nwb')
_CODECS = ('ffv1', 'grey', 'mjpg')
_MODULES = ('apsw', 'cv2', 'lz4', 'numpy', 'rosbags', 'yaml')
_MODULES_OF_NWB = ('h5py', 'ndx_miniscope', 'pynwb')
_PACKAGES = {'cv2': 'opencv-python-headless', 'ndx_miniscope': 'ndx-miniscope',
             'neo': 'neo>=0.14', 'yaml': 'pyyaml'}
DONE, FAILED = ExitStatus.DONE, ExitStatus.FAILED
PARTLY, INTERRUPTED = ExitStatus.PARTLY, ExitStatus.INTERRUPTED
NOT_GOOD = ExitStatus.NOT_GOOD


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit status."""
    options = _parse(arguments)
    interruption.install()
    try:
        if options.verify:
            return _verify(options)
        # Imported here, so that a missing library is reported with its remedy.
        from miniscope_ros.recordings.export.check import check
        from miniscope_ros.recordings.export.options import Options
        from miniscope_ros.recordings.export.run import export
        chosen = Options(
            bag=options.bag, out=options.out, formats=tuple(options.formats),
            codec=options.codec, frames_per_file=options.frames_per_file, animal=options.animal,
            metadata=options.metadata, align=options.align,
            align_channel=options.align_channel, force=options.force, repair=options.repair,
            all=options.all)
        return check(chosen) if options.check else export(chosen)
    except KeyboardInterrupt:
        _say('interrupted; nothing was exported')
        return INTERRUPTED
    except ModuleNotFoundError as error:
        _say(why_missing(_needed(str(error.name), options.formats), _PACKAGES))
        return FAILED
    except (MiniscopeError, OSError) as error:
        _say(str(error))
        return FAILED


def _needed(missing: str, formats: list[str]) -> list[str]:
    """Return the modules that are needed, one of which was found to be missing."""
    # That of a package in a namespace is named whole: backports.zstd.
    module = missing if missing.startswith('backports.') else missing.partition('.')[0]
    return [module, *_MODULES, *(_MODULES_OF_NWB if 'nwb' in formats else ())]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='export_bag', description='Export a rosbag2 recording of Miniscopes for analysis.',
        epilog='exit status: 0 all is exported; 1 nothing is; 2 wrong command line; 3 a part is, '
               'see the messages; 4 --check: there is something to look at; 130 interrupted')
    parser.add_argument('bag', metavar='BAG', type=Path,
                        help='folder of the recording, or one of its files')
    parser.add_argument('out', metavar='OUT', type=Path, nargs='?', help='folder to be made')
    parser.add_argument('--check', action='store_true',
                        help='export nothing: report on the recording, with a picture '
                             'BAG_report.png in the current folder')
    parser.add_argument('--all', action='store_true',
                        help='with --check: read every picture and checksum of a recording above '
                             '10 GB, too')
    parser.add_argument('--verify', action='store_true',
                        help='export nothing: compare the recording with its certificate.json, '
                             'byte by byte and message by message')
    parser.add_argument('--format', action='append', choices=_FORMATS, dest='formats',
                        help='what to write; may be given twice (default: miniscope_daq)')
    parser.add_argument('--codec', choices=_CODECS, default='ffv1',
                        help='of the videos: ffv1 is lossless and small, grey lossless and fast, '
                             'mjpg loses detail (default: %(default)s)')
    parser.add_argument('--frames-per-file', type=int, default=1000, metavar='N',
                        help='frames in each video file (default: %(default)s)')
    parser.add_argument('--animal', default='', metavar='NAME',
                        help='written into the metadata, whatever the recording says')
    parser.add_argument('--metadata', type=Path, metavar='FILE',
                        help='a YAML file on the session: researcher, experiment, animal, '
                             'species, sex, age, genotype, indicator, wavelengths, location; '
                             'replaces what the recording says')
    parser.add_argument('--align', default='', metavar='[NAME=]FILE',
                        help='sync edges (both directions) as another recorder saw them: a CSV '
                             'file of times [s], an NWB file, or a recording of Open Ephys, '
                             'Intan or SpikeGLX; aligned.csv gives for each frame the time on '
                             'its clock')
    parser.add_argument('--align-channel', default='', metavar='CHANNEL',
                        help='the channel of FILE that has the sync edges, where there are '
                             'several; a name that is not there lists them')
    parser.add_argument('--repair', action='store_true',
                        help='write a second copy of the videos into the folder "repaired", with '
                             'misplaced blocks in order where that is certain; repairs.csv '
                             'lists what was done')
    parser.add_argument('--force', action='store_true',
                        help='replace an earlier export in OUT, if nothing in it was changed '
                             'or added')
    options = parser.parse_args(arguments)
    if (options.check or options.verify) == (options.out is not None):
        parser.error('give BAG and OUT, or --check or --verify and BAG')
    if options.all and not options.check:
        parser.error('--all belongs to --check: an export reads everything')
    if options.frames_per_file < 1:
        parser.error(f'--frames-per-file is {options.frames_per_file}; it has to be 1 or more')
    options.formats = options.formats or ['miniscope_daq']
    if options.align_channel and not options.align:
        parser.error('--align-channel needs --align')
    if options.repair and (options.out is None or 'miniscope_daq' not in options.formats):
        parser.error('--repair writes videos: it needs OUT and --format miniscope_daq')
    return options


def _verify(options: argparse.Namespace) -> int:
    from miniscope_ros.recordings.certificate import read, verify

    problems = verify(options.bag)
    for problem in problems:
        _say(problem)
    if problems:
        return PARTLY
    files = read(options.bag)['files']
    print(f'{options.bag} is as it was recorded: {len(files)} files, every message accounted for')
    return DONE


def _say(text: str) -> None:
    print(f'export_bag: {text}', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
