# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Is a recording good? All of a short one is read; of a long one, pictures evenly spaced."""

from __future__ import annotations

from pathlib import Path

from miniscope_ros.recordings.bag.images import images
from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.sample import sample
from miniscope_ros.recordings.export.exit_status import ExitStatus
from miniscope_ros.recordings.export.messages import progress_bar
from miniscope_ros.recordings.export.options import Options
from miniscope_ros.recordings.export.picture_statistics import PictureStatistics
from miniscope_ros.recordings.export.report import report, report_problems
from miniscope_ros.recordings.export.session import name_all, read
from miniscope_ros.recordings.export.session_data import session_data

# A disk gives 0.5 GB/s: above that size, all bytes cannot be read in a minute.
_READ_WHOLE = 10_000_000_000  # bytes
_PICTURES = 3000  # that are looked at of each acquisition of a longer recording


def check(options: Options) -> ExitStatus:
    """Print the report on a bag and write its picture into the current folder."""
    session_data({}, options.metadata)  # a file that cannot be used is refused at once
    reads_all = options.all or Bag(options.bag).size <= _READ_WHOLE
    bag = Bag(options.bag, verify=reads_all)
    session = read(bag)
    everything = name_all(session)
    data = session_data(session.metadata, options.metadata, options.animal)
    every = 1
    if not reads_all:
        longest = max((len(one.images) for one in everything), default=0)
        every = max(1, longest // _PICTURES)
        for one in everything:
            one.remarks.append(
                f'looked at     one picture in {every}, and no checksum: the files have '
                f'{bag.size / 1e9:.3g} GB; --check --all reads all of them')
    total = sum(-(-len(one.images) // every) for one in everything)
    statistics = {id(one): PictureStatistics(len(one.images)) for one in everything}
    pictures = images(bag, everything) if reads_all else sample(
        bag, everything, every, session.places)
    with progress_bar('looking', total, ' frames') as progress:
        for done, (acquisition, row, pixels) in enumerate(pictures, 1):
            statistics[id(acquisition)].add(row, pixels)
            progress(done)
    picture = Path(f'{options.bag_name}_report.png')
    is_good = report(bag, session, statistics, data, None, picture)
    status = report_problems(bag, everything)
    if is_good or status == ExitStatus.FAILED or bag.is_damaged:
        return status  # what the damage of a file has cost is not in the report
    return ExitStatus.NOT_GOOD
