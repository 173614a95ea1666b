"""What a run of defects says of itself in numbers."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffmap.maps.edits.edit import EDITED

if TYPE_CHECKING:
    from napari_diffmap.jobs.defects import DefectsRun
    from napari_diffmap.jobs.defects_follow import Units


def summary_of(run: DefectsRun, seconds: float) -> dict[str, Any]:
    """What ``summary.json`` holds; numbers that are not known are None."""
    found, movie, seconds = run.map, run.found.movie, round(seconds, 3)
    frames, rows, columns = movie.shape
    finds = len(run.finds)
    ids = found.best_phase_ids[0, run.slots]
    counts = {p.name: int((ids == i).sum()) for i, p in enumerate(found.phases)}
    area = rows * columns * (movie.pixel_size_nm or 0.0) ** 2
    codes = found.ambiguity[0, run.slots]
    followed = run.followed
    edited = found.extra.get(EDITED)
    return {
        "scan": str(movie.scan.source or movie.scan.name),
        "shape": [frames, rows, columns],
        "frames": frames,
        "defects": finds,
        "defects_per_frame": finds / frames,
        "classes": {
            name: {
                "defects": count,
                "per_frame": count / frames,
                "per_nm2": density(count / frames, area) if area else None,
            }
            for name, count in counts.items()
            if count
        },
        "per_nm2": density(finds / frames, area) if area else None,
        "pixel_size_nm": movie.pixel_size_nm,
        "frame_time_s": movie.frame_time_s,
        "neighbour_px": run.found.neighbour_px,
        "material": run.found.material,
        "threshold": run.found.threshold,
        "frames_with_lattice": sum(one is not None for one in run.lattices.values()),
        "tracks": len(followed.tracks),
        "diffusion": {
            name: {
                "D": told.D_nm2_s, "low": told.low, "high": told.high,
                "unit": followed.units.diffusion, "tracks": told.tracks,
                "hop_rate": told.hop_rate, "confined": told.confined, "warning": told.warning,
            }
            for name, told in followed.diffusion.items()
        },
        "calibrated": followed.units.calibrated,
        "doubt": {
            cause.name: float((codes == cause.code).sum() / finds) if finds else 0.0
            for cause in found.doubts
        },
        "doubtful_fraction": found.ambiguous_fraction(),
        "edited": 0 if edited is None else int((edited > 0).sum()),
        "class_stability": None if run.classes is None else run.classes.stability,
        "model": run.parameters.find.model,
        "train": run.parameters.find.train,
        "sorted_by": run.parameters.sort.by,
        "seconds": seconds,
        "frames_per_second": round(frames / seconds, 3) if seconds > 0 else None,
        "device": run.found.device,
        "versions": dict(found.provenance.versions),
        "project_version": found.provenance.project_version,
        "warnings": list(found.warnings),
    }  # fmt: skip


def density(count: float, area: float) -> list[float]:
    """Density and its 95 % interval, exact for a Poisson count (Garwood 1936).

    Parameters
    ----------
    count
        Defects in a frame; the mean of a movie, whose frames show the same defects again and
        again and so tell no more than one about how many there are elsewhere.
    area
        Of a frame.
    """
    from scipy.stats import chi2

    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    high = chi2.ppf(0.975, 2 * count + 2) / 2
    return [count / area, float(low / area), float(high / area)]


def as_record(told: Any, units: Units) -> Any:
    """A result as plain values, its fields named without a unit that may not hold.

    ``D_nm2_s`` becomes ``D``; the unit stands beside it once.
    """
    if is_dataclass(told) and not isinstance(told, type):
        record = {_bare(k): as_record(v, units) for k, v in asdict(told).items()}
        return {**record, "unit": units.diffusion} if "D" in record else record
    if isinstance(told, dict):
        return {_bare(k): as_record(v, units) for k, v in told.items()}
    if isinstance(told, np.ndarray):
        return told.tolist()
    if isinstance(told, np.generic):
        return told.item()
    if isinstance(told, list | tuple):
        return [as_record(item, units) for item in told]
    return told


def _bare(name: str) -> str:
    for ending in ("_nm2_s", "_nm2", "_nm", "_s"):
        if name.endswith(ending):
            return name.removesuffix(ending)
    return name
