"""``python -m napari_diffmap`` and the ``napari-diffmap`` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any


def _open_window(files: Sequence[str], **what: Any) -> None:
    """Open napari with the docks; here because only this module may know both sides."""
    from napari_diffmap.widgets.launch import open_window

    open_window(files, **what)


def main() -> None:
    """Run the command line; the window opens through a callable it is handed."""
    from napari_diffmap.cli import run

    sys.exit(run(sys.argv[1:], open_window=_open_window))


if __name__ == "__main__":
    main()
