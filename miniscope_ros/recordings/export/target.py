# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The folder that an export makes, and the earlier export that it may replace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import json
import os
from pathlib import Path
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
    if not any(out.iterdir()):
        return None
    found = _strangers(out)
    if force and found:
        raise ConfigurationError(
            f'{out} is not replaced: --force replaces an unchanged export of this program only, '
            f'and there is {found}; choose another name, or delete it yourself')
    if not force:
        way = 'choose another name' + ('' if found else ', or replace it with --force')
        raise ConfigurationError(f'{out} exists; {way}')
    return list(_listed(out))


def _strangers(folder: Path) -> str:
    """Return in words what of a folder's content is not an unchanged export; '' if it is one."""
    listed = _listed(folder)
    present: dict[str, str] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            relative = str(path.relative_to(folder))
            if path.is_symlink():
                present[relative] = f'{relative}, a link'
            elif name in files:
                known = listed.get(relative)
                present[relative] = (
                    '' if known == path.lstat().st_size or relative == CONTENTS
                    else relative if known is None else f'{relative}, changed since')
    found = sorted(text for text in present.values() if text)
    found += sorted(f'no {name}' for name in listed.keys() - present.keys())
    if not listed and not found:
        found = [f'no {CONTENTS}']
    rest = f' and {len(found) - 3} more' if len(found) > 3 else ''
    return ', '.join(found[:3]) + rest


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
