"""Two maps of one scan compared, and what is written of that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffmap.jobs.record import json_text
from napari_diffmap.maps.atomic import atomic_path

if TYPE_CHECKING:
    from napari_diffmap.maps.orientation_map import OrientationMap

PICTURE, RECORD = "side-by-side.png", "comparison.json"


def map_of(path: Path) -> OrientationMap:
    """The map of a file, of a folder of results, or of a saved session with its corrections.

    Raises
    ------
    BadInputError
        If there is none.
    """
    from napari_diffmap.jobs.results import MAP_FILE
    from napari_diffmap.jobs.session_file import is_session, load_corrections
    from napari_diffmap.maps.files.load import load_map
    from napari_diffmap.maps.orientation_map import oriented

    if is_session(path):
        return oriented(load_corrections(path)[0].map)
    return load_map(path / MAP_FILE if (path / MAP_FILE).is_file() else path)


def write_comparison(
    first: OrientationMap,
    second: OrientationMap,
    names: tuple[str, str],
    folder: Path,
    *,
    caption: str = "",
) -> dict[str, Any]:
    """Write both maps side by side, and how they go together.

    Parameters
    ----------
    first, second
        Of the same positions.
    names
        What each is.
    folder
        Gets ``side-by-side.png`` and ``comparison.json``.
    caption
        Lines under the picture.

    Returns
    -------
    dict
        What ``comparison.json`` holds.

    Raises
    ------
    BadInputError
        If the maps do not fit each other.
    """
    from napari_diffmap.maps.comparison import compare
    from napari_diffmap.maps.figures.side_by_side import save_side_by_side_png

    told = compare(first, second)
    record = {"first": names[0], "second": names[1], **told.record}
    save_side_by_side_png(first, second, folder / PICTURE, names, comparison=told, caption=caption)
    with atomic_path(folder / RECORD) as path:
        path.write_text(json_text(record), encoding="utf-8")
    return record
