# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The folder that an export makes, and the earlier export that it may replace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
import json
import os
from pathlib import Path, PurePath
import shutil
import signal
from typing import Any

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.export.interruption import on_interrupt, raise_if_told
from miniscope_ros.regular import read_text

CONTENTS = 'export.json'
"""The file by which an export is recognised: it lists every file of it with its size [bytes]."""

_PROGRAM = 'miniscope_ros export_bag'
_LARGEST_CONTENTS = 1 << 24  # bytes
_NAMED = 3  # names in a message
_LOOKED_AT = 1000  # names in a folder of which the first ones are named


@contextmanager
def new_folder(out: Path, force: bool) -> Iterator[Path]:
    """
    Yield a hidden folder that gets the name out in the end, or is removed on an error.

    What stands there already is kept until then, and replaced only with force and only if it is
    an earlier export that nobody has changed since; else ConfigurationError.
    """
    replaced = _replaced_files(out, force)
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f'.{out.name}.partial-{os.getpid()}')
    partial.mkdir()
    try:
        yield partial
        raise_if_told()
        _write_contents(partial)
        with on_interrupt(signal.SIG_IGN):  # half-way would leave a mess
            _put_in_place(partial, out, replaced)
    except BaseException:
        with on_interrupt(signal.SIG_IGN):  # half-way would leave a mess
            shutil.rmtree(partial, ignore_errors=True)
        raise


def _replaced_files(out: Path, force: bool) -> list[str] | None:
    """Return the files of the earlier export that stands there; None where there is nothing."""
    if out.is_symlink():
        raise ConfigurationError(f'{out} is a link to {os.readlink(out)}; name a folder itself')
    if not out.exists():
        return None
    if not out.is_dir():
        raise ConfigurationError(f'{out} is a file, which is never replaced; choose another name')
    try:
        names = _first_names(out)
        if not names:
            return None
        listed = _listed(out)  # first: a whole disk is refused as fast as one file
        found = f'no {CONTENTS} of an export, but {names}'
        if listed:
            found = _first_change(out, listed)
    except OSError as error:
        raise ConfigurationError(f'{error.filename} cannot be read: {error.strerror}') from None
    if force and found:
        raise ConfigurationError(
            f'{out} is not replaced: --force replaces an unchanged export of this program only, '
            f'and there is {found}; choose another name, or delete it yourself')
    if not force:
        way = 'choose another name' + ('' if found else ', or replace it with --force')
        raise ConfigurationError(f'{out} exists; {way}')
    return list(listed)


def _first_names(folder: Path) -> str:
    """Return some of the names in a folder, which may hold millions; '' where it is empty."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in islice(entries, _LOOKED_AT))
    return ', '.join(names[:_NAMED]) + (', ..' if len(names) > _NAMED else '')


def _first_change(folder: Path, listed: Mapping[str, int]) -> str:
    """
    Return in words the first thing that shows that an export was changed; '' where nothing does.

    No folder is looked into that is not of the export.
    """
    folders = {str(parent) for name in listed for parent in PurePath(name).parents}
    missing = set(listed)
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                path = Path(entry)
                name = str(path.relative_to(folder))
                if entry.is_symlink():
                    return f'{name}, a link'
                if entry.is_dir() and name in folders:
                    waiting.append(path)
                elif name in listed and entry.is_file():
                    if listed[name] != entry.stat().st_size:
                        return f'{name}, changed since'
                    missing.discard(name)
                elif name != CONTENTS:
                    return name
    return f'no {min(missing)}' if missing else ''


def _listed(folder: Path) -> dict[str, int]:
    """Return the files of an export with their sizes; nothing where it is none."""
    file = folder / CONTENTS
    try:
        if file.is_symlink():
            return {}
        content: Any = json.loads(read_text(file, _LARGEST_CONTENTS))
        if content['program'] != _PROGRAM:
            return {}
        return {str(name): int(size) for name, size in content['files'].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError,
            RecursionError):
        return {}


def _write_contents(folder: Path) -> None:
    files = {str(path.relative_to(folder)): path.lstat().st_size
             for path in sorted(folder.rglob('*')) if path.is_file()}
    (folder / CONTENTS).write_text(
        json.dumps({'program': _PROGRAM, 'files': files}, indent=1) + '\n', encoding='utf-8')


def _put_in_place(partial: Path, out: Path, replaced: list[str] | None) -> None:
    if replaced is None:
        partial.rename(out)
        return
    old = out.with_name(f'.{out.name}.replaced-{os.getpid()}')
    out.rename(old)
    partial.rename(out)
    # File by file: what somebody may have put there in the meantime stays.
    for name in (*replaced, CONTENTS):
        (old / name).unlink(missing_ok=True)
    for place, _, _ in os.walk(old, topdown=False):
        try:
            os.rmdir(place)
        except OSError:
            raise ConfigurationError(
                f'{old}, the replaced export, holds files that are not of it; they are kept '
                'there') from None
