"""Files that are either complete or not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
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
