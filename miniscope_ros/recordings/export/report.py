# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What is said of a recording: as text, as a page, and on the terminal."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.tables import RecordedAcquisition, RecordedSession
from miniscope_ros.recordings.export.exit_status import ExitStatus
from miniscope_ros.recordings.export.messages import say
from miniscope_ros.recordings.export.picture import draw, draw_safely, Shown
from miniscope_ros.recordings.export.picture_statistics import PictureStatistics
from miniscope_ros.recordings.export.session_data import SessionData
from miniscope_ros.recordings.export.summary import describe

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
        shown = [Shown(one, statistics[id(one)], description)
                 for one, description in zip(acquisitions, descriptions, strict=True)]
        heading = _heading(bag, acquisitions, data)
        draw_safely(lambda path: draw(shown, heading, path), picture)
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


def _heading(bag: Bag, acquisitions: list[RecordedAcquisition], data: SessionData) -> str:
    """Return the recording's name and time, and below it what is known of the session."""
    start = datetime.fromtimestamp(min(one.start_ns for one in acquisitions) / 1e9)
    known = [f'{name} {value}' for name in _SHOWN if (value := getattr(data, name))]
    notes = ' '.join(data.notes.split())
    if len(notes) > _LONGEST_NOTE:
        notes = f'{notes[:_LONGEST_NOTE]} ..'
    return '\n'.join(filter(None, (
        f'{bag.path.resolve().name}, {start:%Y-%m-%d %H:%M:%S}', ', '.join(known), notes)))
