"""Files and folders that are either complete or not there."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_diffmap.errors import BadInputError, ResourceError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: numpy reports a full disk in words, without the error number.
_FULL_WORDS = ("no space left", "disk quota", "file too large", "requested and")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Write to a temporary name beside `path`, renamed when all went well.

    Parameters
    ----------
    path
        The file to write; an older one of that name stays until the new one
        is complete.

    Yields
    ------
    Path
        Where to write, with the same suffix.

    Raises
    ------
    BadInputError
        If the folder does not exist or must not be written to.
    ResourceError
        If the disk is full.
    """
    target = Path(path)
    folder = target.parent
    if not folder.is_dir():
        raise BadInputError(f"cannot write {target.name}: there is no folder {folder}")
    if target.is_dir():
        raise BadInputError(f"cannot write {target}: it is a folder; give a file name")
    temporary = folder / f".{target.stem}.{os.getpid()}.part{target.suffix}"
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise _translated(error, target) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Fill a folder under a temporary name beside `path`, renamed when all went well.

    Parameters
    ----------
    path
        The folder to make.
    ours
        Whether a folder of that name that is there may be replaced.

    Yields
    ------
    Path
        An empty folder to fill.

    Raises
    ------
    BadInputError
        If the name is taken, or there is no folder to write to.
    ResourceError
        If the disk is full.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise BadInputError(f"cannot write {target.name}: there is no folder {target.parent}")
    if (target.exists() or target.is_symlink()) and not (target.is_dir() and ours(target)):
        raise BadInputError(
            f"cannot write {target}: something else has that name; choose another one"
        )
    temporary = target.parent / f".{target.stem}.{os.getpid()}.part{target.suffix}"
    old = temporary.with_suffix(".old")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        if target.exists():
            os.replace(target, old)
        os.replace(temporary, target)
    except OSError as error:
        if old.exists() and not target.exists():
            os.replace(old, target)
        raise _translated(error, target) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _translated(error: OSError, target: Path) -> Exception:
    text = str(error).lower()
    if error.errno in _FULL or any(words in text for words in _FULL_WORDS):
        return ResourceError(
            f"the disk is full: free some space in {target.parent} and save {target.name} again"
        )
    reason = error.strerror or str(error).splitlines()[0]
    return BadInputError(
        f"cannot write {target.name} in {target.parent}: {reason.lower()}; choose another folder"
    )
