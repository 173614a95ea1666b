"""Formats a map can be written in, with what they are for."""

from __future__ import annotations

from collections.abc import Iterable

from napari_diffmap.errors import BadInputError

#: Name → file and the tools that open it, for forms and help.
FORMAT_WORDS: dict[str, str] = {
    "h5": "orientation.h5: orix, and this package with everything kept",
    "tiff": "a TIFF a map of numbers: Fiji",
    "ang": "orientation.ang: EDAX OIM, MTEX, DREAM.3D, orix",
    "ctf": "orientation.ctf: Oxford AZtec, MTEX, orix",
    "ome-tiff": "label maps as OME-TIFF: Fiji, QuPath, napari",
    "ome-zarr": "labels.ome.zarr: napari, ome-zarr",
    "png": "pictures with key and scale bar",
    "svg": "pictures with text and lines as vectors",
    "pdf": "pictures with text and lines as vectors",
    "html": "report.html: pictures, parameters, versions, what was corrected",
}
FORMATS = tuple(FORMAT_WORDS)
DEFAULT_FORMATS = ("h5", "tiff", "ang", "png", "html")


def refuse_unknown(formats: Iterable[str]) -> None:
    """Refuse what is no format.

    Raises
    ------
    BadInputError
        With the first name that is not of `FORMATS`.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise BadInputError(f"there is no format {unknown[0]!r}: choose from {', '.join(FORMATS)}")
