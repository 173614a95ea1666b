"""The finished map, with provenance, from the arrays a run leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps import InputFile, OrientationMap, Provenance
from napari_diffmap.scan.calibration_file import to_record

if TYPE_CHECKING:
    from napari_diffmap.methods.orientation.method import OrientationMethod
    from napari_diffmap.scan.scan import Scan

_EXTRA = ("spots", "explained", "found", "margin", "crystals", "resolved", "judged")


def assemble(
    scan: Scan,
    arrays: Mapping[str, NDArray[Any]],
    method: OrientationMethod,
    *,
    device: str = "cpu",
) -> OrientationMap:
    """An orientation map from the arrays of a run, finished or not.

    Parameters
    ----------
    scan
        What was mapped; gives step, source and warnings.
    arrays
        One array a map of `OrientationMethod.maps`, ``(y, x, …)``.
    method
        What mapped it.
    device
        Where, in words, for the provenance.
    """
    step, unit = scan_step(scan)
    inputs = []
    if scan.source is not None:
        inputs.append(InputFile.from_path(scan.source, format=scan.format, shape=scan.shape))
    inputs += [
        InputFile.from_path(phase.source, format="CIF")
        for phase in method.phases
        if phase.source is not None
    ]
    parameters = {
        **method.parameters.model_dump(mode="json"),
        "phases": [phase.name for phase in method.phases],
        "calibration": scan.calibration.summary(),
    }
    if method.geometry is not None:
        used = method.geometry
        listed = scan.peaks is not None and scan.peaks.calibrated
        parameters["used"] = {
            "voltage_kv": used.voltage_kv,
            "pixel_size": used.pixel_size,
            "beam_plane": used.plane.tolist(),
            # A calibrated peak list keeps what its file says.
            "calibration": to_record(scan.calibration if listed else used.calibration),
            "q_min": used.q_min,
            "q_max": used.q_max,
            "spot_sigma": used.spot_sigma,
            "bad_pixels": 0 if used.bad is None else int(used.bad.sum()),
            "intensities": method.intensities,
            "engine": method.engine,
        }
    notes = [*scan.warnings]
    for phase in method.phases:
        notes += [f"{phase.name}: {line}" for line in phase.warnings]
    return OrientationMap(
        rotations=arrays["rotations"],
        scores=arrays["scores"],
        phase_ids=arrays["phase_ids"],
        reliability=arrays["reliability"],
        ambiguity=arrays["ambiguity"],
        phases=method.phases,
        step=step,
        step_unit=unit,
        provenance=Provenance.collect(
            inputs=inputs,
            method=f"orientation/{method.engine['name']}",
            parameters=parameters,
            device=device,
            notes=notes,
        ),
        extra={name: np.asarray(arrays[name]) for name in _EXTRA if name in arrays},
    )


def scan_step(scan: Scan) -> tuple[tuple[float, float], str]:
    """Distance of neighbouring positions (y, x) and its unit: nm, or pixel when unknown."""
    y, x = (axis.canonical() for axis in scan.axes[:2])
    if y.unit == x.unit == "nm":
        return (abs(y.scale), abs(x.scale)), "nm"
    return (1.0, 1.0), "pixel"
