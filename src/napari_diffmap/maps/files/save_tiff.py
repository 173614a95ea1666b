"""Scalar maps as TIFF files that ImageJ opens with scale and unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.atomic import atomic_path
from napari_diffmap.maps.provenance import Provenance

if TYPE_CHECKING:
    from napari_diffmap.maps.phase_map import PhaseMap


def save_tiff_pages(
    pages: Mapping[str, NDArray[Any]],
    path: str | Path,
    *,
    step: tuple[float, float] = (1.0, 1.0),
    unit: str = "pixel",
    provenance: Provenance | None = None,
) -> Path:
    """Write several images with their names, scale and provenance as pages of one file.

    Parameters
    ----------
    pages
        ``(Y, X)`` by name, all of one shape; written as float32.
    path, step, unit, provenance
        As for `save_tiff`.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    BadInputError, ResourceError
        If there is no image, the name is wrong or it cannot be written.
    """
    target = _tiff_name(path)
    arrays = [np.asarray(page, dtype=np.float32) for page in pages.values()]
    if not arrays or arrays[0].ndim != 2 or len({array.shape for array in arrays}) > 1:
        raise BadInputError("pages of a TIFF must be grey images (Y, X) of one shape")
    metadata = {"axes": "ZYX", "Labels": list(pages)}
    return _write(np.stack(arrays), target, step, unit, provenance, metadata)


def save_tiff(
    image: NDArray[Any],
    path: str | Path,
    *,
    step: tuple[float, float] = (1.0, 1.0),
    unit: str = "pixel",
    provenance: Provenance | None = None,
) -> Path:
    """Write one image with its scale and provenance.

    Parameters
    ----------
    image
        ``(Y, X)``; written as float32 (unsigned bytes and 16-bit integers as
        they are).  NaN marks what is missing.
    path
        ``.tif`` or ``.tiff``.
    step
        Distance of neighbouring pixels ``(dy, dx)`` in `unit`.
    unit
        ``nm``, or ``pixel`` without a calibration.
    provenance
        JSON in the description and in ImageJ's *Show Info*.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    BadInputError, ResourceError
        If the image is not 2-D, the name is wrong or it cannot be written.
    """
    target = _tiff_name(path)
    array = np.asarray(image)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "biuf":
        raise BadInputError(
            f"a TIFF map must be a grey image (Y, X), not {array.shape} {array.dtype}"
        )
    if array.dtype not in (np.uint8, np.uint16):
        array = array.astype(np.float32)
    return _write(array, target, step, unit, provenance, {"axes": "YX"})


def _tiff_name(path: str | Path) -> Path:
    target = Path(path)
    if target.suffix.lower() not in (".tif", ".tiff"):
        raise BadInputError(f"{target.name}: a TIFF image must end in .tif")
    return target


def _write(
    array: NDArray[Any],
    target: Path,
    step: tuple[float, float],
    unit: str,
    provenance: Provenance | None,
    metadata: dict[str, Any],
) -> Path:
    """Write what ImageJ opens with scale and unit."""
    import tifffile

    metadata = {**metadata, "unit": unit.replace("µ", "u")}
    if provenance is not None:
        metadata["provenance"] = provenance.to_json()
        metadata["Info"] = provenance.to_json(indent=1)
    with atomic_path(target) as temporary:
        tifffile.imwrite(
            temporary,
            array,
            imagej=True,
            resolution=(1 / step[1], 1 / step[0]),
            metadata=metadata,
        )
    return target


def scalar_maps(found: PhaseMap) -> dict[str, NDArray[np.float32]]:
    """Every scalar map by name, float32, NaN where there is no answer."""
    missing = ~found.indexed

    def holed(values: NDArray[Any], holes: NDArray[np.bool_]) -> NDArray[np.float32]:
        out = values.astype(np.float32)
        out[holes] = np.nan
        return out

    maps = {
        "score": holed(found.best_scores, missing),
        "reliability": holed(found.reliability, missing),
        "phase": holed(found.best_phase_ids, missing),
        "ambiguity": found.ambiguity.astype(np.float32),
    }
    for name, values in found.extra.items():
        maps.setdefault(name, values.astype(np.float32))
    return maps


def save_maps_tiff(found: PhaseMap, folder: str | Path, *, prefix: str = "") -> list[Path]:
    """Write each scalar map: score, reliability, phase, ambiguity and the extra ones.

    Parameters
    ----------
    found
        The map.
    folder
        An existing folder.
    prefix
        Put before each name.

    Returns
    -------
    list of Path
        The files written.  Maps without a single value are left out.
    """
    written = []
    for name, values in scalar_maps(found).items():
        if np.isfinite(values).any():
            safe = re.sub(r"[^\w.+-]+", "-", name).strip("-") or "map"
            written.append(
                save_tiff(
                    values,
                    Path(folder) / f"{prefix}{safe}.tif",
                    step=found.step,
                    unit=found.step_unit,
                    provenance=found.provenance,
                )
            )
    return written
