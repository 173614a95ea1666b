"""What a phase map of spectra leaves in a folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.formats import DEFAULT_FORMATS, FORMATS, refuse_unknown
from napari_diffmap.jobs.results import save_label_layers, unwritable
from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.maps.figures.pictures import save_edited_png
from napari_diffmap.maps.files.save_spectral import write_spectral
from napari_diffmap.maps.files.save_spectral_h5 import save_spectral_h5
from napari_diffmap.maps.labels.layers import label_layers

if TYPE_CHECKING:
    from napari_diffmap.maps import SpectralMap
    from napari_diffmap.maps.labels.named import NamedLabels

#: The map in a folder of results.
PHASES_FILE = "phases.h5"
#: Formats of the list that hold orientations alone.
_ORIENTED = frozenset({"ang", "ctf", "html"})


def export_spectral(
    found: SpectralMap,
    folder: Path,
    *,
    formats: Collection[str] = DEFAULT_FORMATS,
    labels: Mapping[str, NamedLabels] | None = None,
    caption: str = "",
) -> list[Path]:
    """Write a phase map of spectra in chosen formats.

    Parameters
    ----------
    found
        The map.
    folder
        Exists and can be written.
    formats
        Of `FORMATS`: ``h5`` (``phases.h5``), ``tiff`` and pictures as `write_spectral` makes
        them, label maps; those of orientations are passed over.
    labels
        Label maps to be written beside those of `label_layers`; the same name replaces.
    caption
        Stands below every picture.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    BadInputError
        If a format is unknown, or all chosen ones hold orientations alone.
    ResourceError
        If the folder cannot be written or the disk is full.
    """
    refuse_unknown(formats)
    if set(formats) <= _ORIENTED:
        others = ", ".join(name for name in FORMATS if name not in _ORIENTED)
        raise BadInputError(f"a map of phases has no orientations: choose from {others}")
    pictures = [kind for kind in ("png", "svg", "pdf") if kind in formats]
    written: list[Path] = []
    try:
        if "h5" in formats:
            written.append(save_spectral_h5(found, folder / PHASES_FILE))
        written += write_spectral(
            found, folder, maps="tiff" in formats, pictures=pictures, caption=caption
        )
        if EDITED in found.extra:
            for kind in pictures:
                path = folder / f"{EDITED}.{kind}"
                written.append(save_edited_png(found, path, caption=caption))
        layers = {**label_layers(found), **(labels or {})}
        written += save_label_layers(found, folder, formats, layers)
    except OSError as error:
        raise unwritable(folder, error) from error
    return written
