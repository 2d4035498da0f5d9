# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Where the folder of each acquisition is, when its times are 0, and which remarks belong to it.

The Miniscope-DAQ program makes a folder of date and time whenever recording begins, with a folder
of each device in it. A device is recorded once in it, and has the same name in each of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from miniscope_ros.recordings.bag.tables import RecordedAcquisition, RecordedNote
from miniscope_ros.recordings.free_name import free_name


@dataclass(frozen=True)
class Place:
    """The place of one acquisition in an export."""

    session: str  # folder below the export, as date/time; empty if the export is one session
    device: str  # name of the acquisition's own folder in it
    device_id: int
    start_ns: int  # ROS time at which the times of the session are 0
    notes: tuple[RecordedNote, ...]  # remarks of the experimenter in the session

    @property
    def folder(self) -> str:
        """Return the folder below that of the export."""
        return f'{self.session}/{self.device}' if self.session else self.device


class Places:
    """The places of all acquisitions of a recording."""

    def __init__(self, acquisitions: Sequence[RecordedAcquisition],
                 notes: Iterable[RecordedNote]) -> None:
        """Divide the acquisitions, at least one, and the remarks into sessions."""
        sessions = _sessions(acquisitions)
        starts_ns = [session[0].start_ns for session in sessions]
        names = _names(sessions) if len(sessions) > 1 else ['']
        devices = list(dict.fromkeys(one.device for one in acquisitions))
        self._places = {
            id(one): Place(name, one.device, devices.index(one.device), start_ns, remarks)
            for name, session, start_ns, remarks in zip(
                names, sessions, starts_ns, _divided(notes, starts_ns), strict=True)
            for one in session}

    def __getitem__(self, acquisition: RecordedAcquisition) -> Place:
        """Return the place of one of the acquisitions."""
        return self._places[id(acquisition)]

    def sessions(self, acquisitions: Iterable[RecordedAcquisition],
                 ) -> dict[str, list[RecordedAcquisition]]:
        """Return these acquisitions by the folders of their sessions."""
        found: dict[str, list[RecordedAcquisition]] = {}
        for one in acquisitions:
            found.setdefault(self[one].session, []).append(one)
        return found


def _sessions(acquisitions: Iterable[RecordedAcquisition]) -> list[list[RecordedAcquisition]]:
    """
    Return the acquisitions of each session, in the order of time.

    An acquisition belongs to the session under way. One whose device is already in it begins the
    next session.
    """
    sessions: list[list[RecordedAcquisition]] = []
    for one in sorted(acquisitions, key=lambda one: one.start_ns):
        if not sessions or one.device in (known.device for known in sessions[-1]):
            sessions.append([])
        sessions[-1].append(one)
    return sessions


def _divided(notes: Iterable[RecordedNote], starts_ns: Sequence[int],
             ) -> list[tuple[RecordedNote, ...]]:
    """
    Return the remarks of each session: those from its start to the start of the next one.

    What was remarked before the first session belongs to that one. The starts [ns] rise.
    """
    found: list[list[RecordedNote]] = [[] for _ in starts_ns]
    for note in notes:
        found[max(bisect_right(starts_ns, note.stamp) - 1, 0)].append(note)
    return [tuple(remarks) for remarks in found]


def _names(sessions: Iterable[Sequence[RecordedAcquisition]]) -> list[str]:
    """Return the folders as date/time, as Miniscope-DAQ names them; a second one gets a number."""
    names: list[str] = []
    for session in sessions:
        start = datetime.fromtimestamp(session[0].start_ns // 10**9)
        names.append(free_name(f'{start:%Y_%m_%d/%H_%M_%S}', names.__contains__))
    return names
