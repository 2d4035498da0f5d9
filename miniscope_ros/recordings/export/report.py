# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What is said of a recording: as text, as a page, and on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
import sys

from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.tables import RecordedAcquisition, RecordedSession
from miniscope_ros.recordings.export.exit_status import ExitStatus
from miniscope_ros.recordings.export.picture_statistics import PictureStatistics
from miniscope_ros.recordings.export.session_data import SessionData
from miniscope_ros.recordings.export.summary import describe, Description

_SHOWN = ('animal', 'experiment', 'researcher', 'species', 'sex', 'age', 'genotype', 'indicator',
          'location', 'lab', 'institution')
_LONGEST_NOTE = 160  # characters that are shown


def report(bag: Bag, session: RecordedSession, statistics: dict[int, PictureStatistics],
           data: SessionData, text_file: Path | None, picture: Path) -> bool:
    """
    Write and print the report; return whether all of it is good.

    The statistics are found by the id of the acquisition. Without a text_file it is only printed.
    """
    acquisitions = [*session.acquisitions, *session.cameras]
    descriptions = [describe(one, statistics[id(one)].brightness) for one in acquisitions]
    text = '\n\n'.join([*(description.text for description in descriptions),
                        *(f'left out: {topic}' for topic in session.left_out),
                        *(f'! {problem}' for problem in bag.problems)])
    print(text)
    if text_file is not None:
        text_file.write_text(text + '\n', encoding='utf-8')
    if acquisitions:
        _draw(acquisitions, statistics, descriptions, _heading(bag, acquisitions, data), picture)
    return all(description.is_good for description in descriptions)


def report_problems(bag: Bag, acquisitions: list[RecordedAcquisition]) -> ExitStatus:
    """Print all that is missing; return the exit status."""
    problems = [*bag.problems, *(f'{acquisition.name}: {problem}' for acquisition in acquisitions
                                 for problem in acquisition.problems)]
    for problem in problems:
        say(problem)
    if not any(len(acquisition.images) or len(acquisition.frames)
               for acquisition in acquisitions):
        return ExitStatus.FAILED
    return ExitStatus.PARTLY if problems else ExitStatus.DONE


@contextmanager
def progress_bar(what: str, total: float, unit: str = '') -> Iterator[Callable[[float], None]]:
    """Yield what takes the amount done; a bar shows it, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        say(f'{what}; a progress bar needs tqdm (apt install python3-tqdm)')
        yield lambda done: None
        return
    share = '' if unit else '{l_bar}{bar}| {elapsed}<{remaining}'
    with tqdm(total=total, desc=what, unit=unit, bar_format=share or None) as bar:
        yield lambda done: bar.update(done - bar.n) and None


def say(text: str) -> None:
    """Print a line for the user to standard error."""
    print(f'export_bag: {text}', file=sys.stderr)


def _heading(bag: Bag, acquisitions: list[RecordedAcquisition], data: SessionData) -> str:
    """Return the recording's name and time, and below it what is known of the session."""
    start = datetime.fromtimestamp(min(one.start_ns for one in acquisitions) / 1e9)
    known = [f'{name} {value}' for name in _SHOWN if (value := getattr(data, name))]
    notes = ' '.join(data.notes.split())
    if len(notes) > _LONGEST_NOTE:
        notes = f'{notes[:_LONGEST_NOTE]} ..'
    return '\n'.join(filter(None, (
        f'{bag.path.resolve().name}, {start:%Y-%m-%d %H:%M:%S}', ', '.join(known), notes)))


def _draw(acquisitions: list[RecordedAcquisition], statistics: dict[int, PictureStatistics],
          descriptions: list[Description], heading: str, picture: Path) -> None:
    try:
        from miniscope_ros.recordings.export.picture import draw, Shown
        draw([Shown(one, statistics[id(one)], description)
              for one, description in zip(acquisitions, descriptions, strict=True)],
             heading, picture)
    except ImportError:
        say('no picture: it needs matplotlib (apt install python3-matplotlib)')
    except OSError as error:
        say(f'no picture: {picture} cannot be written: {error.strerror}')
    except Exception as error:  # matplotlib has many versions; the data must not depend on it
        picture.unlink(missing_ok=True)
        say(f'no picture: {type(error).__name__}: {error}')
