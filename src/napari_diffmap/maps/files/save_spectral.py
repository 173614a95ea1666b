"""Phase maps of spectra as TIFF maps and pictures."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.files.save_tiff import save_tiff, save_tiff_pages
from napari_diffmap.maps.spectral_doubt import SpectralDoubt
from napari_diffmap.maps.spectral_map import SpectralMap

#: Codes of ``doubt.tif``; a spectrum that is too thin or saturated tells phases badly apart.
DOUBT_CODES: dict[SpectralDoubt, int] = {
    SpectralDoubt.NONE: 0,
    SpectralDoubt.AMBIGUITY: 1,
    SpectralDoubt.FALSE_ASSIGNMENT: 2,
    SpectralDoubt.TRANSITION: 3,
    SpectralDoubt.THIN: 1,
    SpectralDoubt.SATURATED: 1,
    SpectralDoubt.NO_DATA: 0,
}


def write_spectral(
    found: SpectralMap,
    folder: str | Path,
    *,
    maps: bool = True,
    pictures: Collection[str] = ("png",),
    caption: str = "",
) -> list[Path]:
    """Write the maps as numbers and as pictures.

    ``phases.tif`` holds the number of the first answer in the order of the references, from 1,
    and 0 without an answer; ``fractions.tif`` a page a reference; ``composition.tif`` where the
    references tell it; ``doubt.tif`` codes of `DOUBT_CODES`.  Pictures are ``phases``,
    ``fractions``, ``composition`` and ``doubt``.

    Parameters
    ----------
    found
        The map; corrections that it holds are in all of these.
    folder
        An existing folder.
    maps
        Write the TIFF files.
    pictures
        Endings of the pictures: of ``png``, ``svg`` and ``pdf``.
    caption
        Stands below every picture.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    BadInputError, ResourceError
        If it cannot be written there.
    """
    from napari_diffmap.maps.figures.spectral import (
        save_composition_png,
        save_doubt_png,
        save_fractions_png,
        save_phases_png,
    )

    place = Path(folder)
    if not place.is_dir():
        raise BadInputError(f"there is no folder {place}")
    written = _write_maps(found, place) if maps else []
    drawn = {"phases": save_phases_png, "fractions": save_fractions_png, "doubt": save_doubt_png}
    if found.composition is not None:
        drawn["composition"] = save_composition_png
    for ending in pictures:
        for name, draw in drawn.items():
            written.append(draw(found, place / f"{name}.{ending}", caption=caption))
    return written


def _write_maps(found: SpectralMap, folder: Path) -> list[Path]:
    def save(name: str, values: NDArray[np.generic]) -> Path:
        return save_tiff(
            values,
            folder / name,
            step=found.step,
            unit=found.step_unit,
            provenance=found.provenance,
        )

    written = [save("phases.tif", phase_numbers(found)), save("doubt.tif", doubt_codes(found))]
    if found.composition is not None:
        written.append(save("composition.tif", found.composition))
    names = _unlike([phase.name for phase in found.phases])
    pages = {name: found.fractions[..., i] for i, name in enumerate(names)}
    written.append(
        save_tiff_pages(
            pages,
            folder / "fractions.tif",
            step=found.step,
            unit=found.step_unit,
            provenance=found.provenance,
        )
    )
    return written


def phase_numbers(found: SpectralMap) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """``(Y, X)``: number of the first answer among the references from 1, 0 without one."""
    numbers = found.best_phase_ids.astype(np.uint16) + np.uint16(1)
    return numbers.astype(np.uint8) if len(found.phases) < 256 else numbers


def doubt_codes(found: SpectralMap) -> NDArray[np.uint8]:
    """``(Y, X)`` uint8: doubt in the three causes of the published method, see `DOUBT_CODES`."""
    table = np.array([DOUBT_CODES[code] for code in SpectralDoubt], dtype=np.uint8)
    codes: NDArray[np.uint8] = table[found.ambiguity]
    return codes


def _unlike(names: list[str]) -> list[str]:
    """Names of pages, each once."""
    return [
        name if names.count(name) == 1 else f"{name} {names[: i + 1].count(name)}"
        for i, name in enumerate(names)
    ]
