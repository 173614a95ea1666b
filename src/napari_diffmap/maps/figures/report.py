"""A report of a map: one HTML file with pictures, counts, corrections and how it was made.

The file needs nothing else: no network, no script.  It prints on paper.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffmap import __version__
from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.atomic import atomic_path
from napari_diffmap.maps.boundaries.find import Boundaries, find_boundaries
from napari_diffmap.maps.counts import CRYSTALS
from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.maps.figures import report_parts
from napari_diffmap.maps.figures.pictures import (
    save_ambiguity_png,
    save_boundaries_png,
    save_crystals_png,
    save_edited_png,
    save_ipf_png,
    save_phase_png,
    save_scalar_png,
)
from napari_diffmap.maps.figures.report_html import (
    Markup,
    bullets,
    figure,
    page,
    paragraph,
    section,
    text,
)

if TYPE_CHECKING:
    from napari_diffmap.maps.edits.edit import Edit
    from napari_diffmap.maps.orientation_map import OrientationMap

Draw = Callable[["OrientationMap", Path, "Boundaries | None"], Path]

#: Pictures by name: what draws them, and what stands below them.
_DRAWN: dict[str, tuple[Draw, str]] = {
    "ipf-x": (
        lambda m, p, _: save_ipf_png(m, p, "x"),
        "Crystal directions along x (to the right), coloured by the key beside the map.",
    ),
    "ipf-y": (
        lambda m, p, _: save_ipf_png(m, p, "y"),
        "Crystal directions along y (down), coloured by the key beside the map.",
    ),
    "ipf-z": (
        lambda m, p, _: save_ipf_png(m, p, "z"),
        "Crystal directions along the beam, coloured by the key beside the map.",
    ),
    "phases": (
        lambda m, p, _: save_phase_png(m, p),
        "Phases of the first answers; shares are of the positions with an answer.",
    ),
    "boundaries": (
        lambda m, p, edges: save_boundaries_png(m, p, edges),
        "Boundaries between positions over the score; lengths are along the edges of pixels.",
    ),
    "ambiguity": (
        lambda m, p, _: save_ambiguity_png(m, p),
        "Where the answer is in doubt, and why; shares are of the positions with data.",
    ),
    "edited": (
        lambda m, p, _: save_edited_png(m, p),
        "Where answers were corrected by hand, and how.",
    ),
    "crystals": (
        lambda m, p, _: save_crystals_png(m, p),
        "Crystals that one pattern shows.",
    ),
    "score": (
        lambda m, p, _: save_scalar_png(m, p, "score"),
        "Score of the first answer.",
    ),
    "reliability": (
        lambda m, p, _: save_scalar_png(m, p, "reliability"),
        "Probability that the first answer is right.",
    ),
}
#: What a report shows without being asked; what a map does not have is left out.
PICTURES = ("ipf-z", "phases", "boundaries", "ambiguity", "edited")
#: A drawing of more bytes is embedded as pixels.
_LARGEST_SVG = 4_000_000


def write_report(
    found: OrientationMap,
    path: str | Path,
    *,
    answer: OrientationMap | None = None,
    edits: Sequence[Mapping[str, Any] | Edit] | None = None,
    pictures: Collection[str] = PICTURES,
    captions: Mapping[str, str] | None = None,
    title: str | None = None,
    boundaries: Boundaries | None = None,
) -> Path:
    """Write the report of a map as one HTML file.

    Parameters
    ----------
    found
        The map, with its corrections where there are any.
    path
        ``.html``.
    answer
        The map as it was found, before corrections: its counts stand beside.
    edits
        What was corrected: mappings (or `Edit`) with ``number``, ``when``, ``who``, ``kind``
        (a word or the code of `EditKind`), ``pixels`` (how many or which), ``note`` and, if
        known, ``before`` and ``after``.
    pictures
        Names: ``ipf-x``, ``ipf-y``, ``ipf-z``, ``phases``, ``boundaries``, ``ambiguity``,
        ``edited``, ``crystals``, ``score``, ``reliability``.
    captions
        Words below a picture by its name, instead of the usual ones.
    title
        Heading; made from the name of the scan without it.
    boundaries
        Of this map; found with the usual thresholds without them.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    BadInputError, ResourceError
        If a picture has no such name, the file's name is wrong or it cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise BadInputError(f"{target.name}: a report must end in .html")
    unknown = [name for name in pictures if name not in _DRAWN]
    if unknown:
        raise BadInputError(f"there is no picture {unknown[0]!r}: choose from {', '.join(_DRAWN)}")
    if answer is not None and answer.shape != found.shape:
        raise BadInputError(
            f"the answer of {answer.shape} positions does not belong to a map of {found.shape}"
        )
    heading = title or _heading(found)
    if boundaries is None and found.indexed.any():
        boundaries = find_boundaries(found)
    words = page(
        heading, _body(found, heading, answer, edits or (), pictures, captions, boundaries)
    )
    with atomic_path(target) as temporary:
        temporary.write_text(words, encoding="utf-8")
    return target


def _heading(found: OrientationMap) -> str:
    names = [Path(item.path).name for item in found.provenance.inputs[:1]]
    return f"Orientation map of {names[0]}" if names else "Orientation map"


def _body(
    found: OrientationMap,
    heading: str,
    answer: OrientationMap | None,
    edits: Sequence[Mapping[str, Any] | Edit],
    pictures: Collection[str],
    captions: Mapping[str, str] | None,
    boundaries: Boundaries | None,
) -> list[Markup]:
    rows, columns = found.shape
    written = datetime.now(UTC).isoformat(" ", "minutes")
    about = f"{rows} × {columns} positions · written {written} by napari-diffmap {__version__}"
    warned = list(dict.fromkeys((*found.warnings, *found.provenance.notes)))
    shown = _figures(found, pictures, captions or {}, boundaries)
    return [
        Markup(f"<h1>{text(heading)}</h1>"),
        paragraph(about, "quiet"),
        bullets("Warnings", warned),
        section("Answers", report_parts.counts_table(found, answer)),
        section("Maps", *shown),
        section("Phases", report_parts.phase_table(found)),
        section("Grains", *report_parts.grain_table(found, boundaries)),
        section(
            "Corrections",
            report_parts.edited_table(found),
            *(report_parts.edit_list(edits) if edits else ()),
        ),
        section("Scan and other files", report_parts.input_table(found)),
        section("Calibration", report_parts.calibration_table(found)),
        section("Parameters", report_parts.parameter_table(found)),
        section("How it was computed", report_parts.version_table(found)),
    ]


def _figures(
    found: OrientationMap,
    pictures: Collection[str],
    captions: Mapping[str, str],
    boundaries: Boundaries | None,
) -> list[Markup]:
    shown: list[Markup] = []
    with TemporaryDirectory() as folder:
        for name in dict.fromkeys(pictures):
            if not _has(found, name):
                continue
            draw, usual = _DRAWN[name]
            file, kind = draw(found, Path(folder) / "picture.svg", boundaries), "svg+xml"
            if file.stat().st_size > _LARGEST_SVG:
                file, kind = draw(found, Path(folder) / "picture.png", boundaries), "png"
            words = f"Figure {len(shown) + 1}. {captions.get(name, usual)}"
            shown.append(figure(file.read_bytes(), kind, f"{name}: {usual}", words))
    return shown


def _has(found: OrientationMap, name: str) -> bool:
    """Whether a map has what a picture shows."""
    if name == "ambiguity":
        return True
    if name in (EDITED, CRYSTALS):
        return name in found.extra
    if name == "reliability":
        return bool(np.isfinite(found.reliability).any())
    return bool(found.indexed.any())
