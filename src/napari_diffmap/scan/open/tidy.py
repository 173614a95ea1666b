"""Axes as files state them become axes that can be believed.

A wrong scale gives a wrong map without an error, so every scale that cannot be
right is dropped (the axis counts pixels) and the user is told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_diffmap.scan.axes import Axis, normalise_unit
from napari_diffmap.scan.open.found import RawAxis

#: Axes of a diffraction pattern, of the sample, and the rest, by scan axis name.
K_AXES = frozenset({"ky", "kx", "qy", "qx"})
SAMPLE_AXES = frozenset({"y", "x"})

#: What a step can be: (unit, smallest, largest).
_K_LIMITS = {"1/Å": (1e-5, 1.0), "mrad": (1e-4, 100.0)}
#: No detector starts further from the beam than this.
_MAX_OFFSET = {"1/Å": 100.0, "mrad": 1e4}
_LENGTH_LIMITS = (1e-5, 1e6)  # nm: a hundredth of a picometre to a millimetre
_LENGTH_UNITS = frozenset({"nm"})
#: Units of stacks that are no movies: slices, a focal series, energies.
_NO_TIMES = frozenset({"pm", "Å", "nm", "µm", "mm", "cm", "m", "eV", "keV"})
#: X-ray energies below this are keV: no soft X-ray microscope works under 100 eV
#: and hard X-ray edges lie at 2 to 40 keV.
MIN_ENERGY_EV = 100.0


@dataclass(frozen=True)
class AxisState:
    """An axis in canonical units and what had to be said about it."""

    axis: Axis
    notes: tuple[str, ...] = ()


def regular(values: np.ndarray) -> tuple[float, float, bool]:
    """Step, start and evenness of listed coordinates.

    Returns
    -------
    scale, offset
        Mean step (1 when there is one sample) and first coordinate.
    even
        Whether all steps agree to 1 %.
    """
    listed = np.asarray(values, dtype=np.float64).ravel()
    if listed.size < 2:
        return 1.0, float(listed[0]) if listed.size else 0.0, True
    steps = np.diff(listed)
    mean = float(steps.mean())
    even = bool(np.all(np.abs(steps - mean) <= 0.01 * max(abs(mean), 1e-300)))
    return mean, float(listed[0]), even


def _plain(name: str, size: int) -> Axis:
    return Axis(name, size)


def tidy(name: str, size: int, raw: RawAxis) -> AxisState:
    """One axis in canonical units; pixels where the file's words cannot be right.

    Parameters
    ----------
    name
        Name of the axis in the scan (``y x ky kx energy …``).
    size
        Number of samples.
    raw
        What the file says.
    """
    unit = normalise_unit(raw.unit)
    if unit is None:
        words = " ".join(str(raw.unit).split())[:30]
        return AxisState(
            _plain(name, size), (f"axis {name}: unit '{words}' is not known; taken as pixels",)
        )
    scale, offset, values = float(raw.scale), float(raw.offset), raw.values
    if not math.isfinite(offset):
        offset = 0.0
    if name == "energy" and values is not None and not np.isfinite(values).all():
        return AxisState(
            _plain(name, size), ("energies are not all numbers; frames are counted instead",)
        )
    if values is not None and values.size == size and np.isfinite(values).all():
        scale, offset, even = regular(values)
    else:
        values, even = None, True
    if name == "energy":
        return _energy(size, unit, scale, offset, values, even)
    if unit == "pixel":
        trivial = math.isclose(abs(scale), 1.0, rel_tol=1e-6) or scale in (0.0, -1.0)
        note = () if trivial else (f"axis {name}: a step of {scale:.4g} without a unit is ignored",)
        return AxisState(_plain(name, size), note)
    if not math.isfinite(scale) or abs(scale) < 1e-30:
        if size == 1 and math.isfinite(scale):
            return AxisState(_plain(name, size))
        return AxisState(
            _plain(name, size),
            (f"axis {name}: a step of {scale:.3g} {unit} is impossible; taken as pixels",),
        )
    if unit == "rad":
        unit, factor = ("mrad", 1e3) if name in K_AXES else ("degree", math.degrees(1.0))
        scale, offset = scale * factor, offset * factor
    if unit == "ms":
        unit, scale, offset = "s", scale * 1e-3, offset * 1e-3
    if name == "time" and unit in _NO_TIMES:
        return AxisState(
            _plain(name, size),
            (f"axis time: a step of {scale:.4g} {unit} is no time; frames are counted",),
        )
    axis = Axis(name, size, scale, offset, unit).canonical()
    state = _check(axis, raw)
    if not even and state.axis.calibrated:
        uneven = f"axis {name}: steps are uneven; the mean of {state.axis.scale:.4g} is used"
        return AxisState(state.axis, (*state.notes, f"{uneven} {state.axis.unit}"))
    return state


def _check(axis: Axis, raw: RawAxis) -> AxisState:
    """Whether unit, sign and size of a step fit the sort of axis."""
    said = f"axis {axis.name}: a step of {float(raw.scale):.4g} {raw.unit}"
    if axis.name in K_AXES:
        if axis.unit not in _K_LIMITS:
            return AxisState(
                _plain(axis.name, axis.size),
                (f"{said} is not reciprocal; the pattern is left uncalibrated",),
            )
        low, high = _K_LIMITS[axis.unit]
        if not low <= axis.scale <= high:
            return AxisState(
                _plain(axis.name, axis.size), (f"{said} is impossible; taken as pixels",)
            )
        if abs(axis.offset) > _MAX_OFFSET[axis.unit]:
            return AxisState(
                Axis(axis.name, axis.size, axis.scale, 0.0, axis.unit),
                (f"axis {axis.name}: an offset of {raw.offset:.3g} {raw.unit} is ignored",),
            )
    elif axis.name in SAMPLE_AXES:
        low, high = _LENGTH_LIMITS
        if axis.unit not in _LENGTH_UNITS:
            return AxisState(
                _plain(axis.name, axis.size), (f"{said} is not a length; taken as pixels",)
            )
        if not low <= abs(axis.scale) <= high:
            return AxisState(
                _plain(axis.name, axis.size), (f"{said} is impossible; taken as pixels",)
            )
        if axis.scale < 0:
            return AxisState(
                Axis(axis.name, axis.size, -axis.scale, 0.0, axis.unit),
                (f"{said} runs backwards; the step is kept, the direction is not",),
            )
    return AxisState(axis)


def _energy(
    size: int,
    unit: str,
    scale: float,
    offset: float,
    values: np.ndarray | None,
    even: bool,
) -> AxisState:
    """Energies in eV; keV are found by their size whatever the file calls them."""
    if unit not in ("eV", "keV", "pixel"):
        return AxisState(
            _plain("energy", size), (f"axis energy: {unit} is no energy; taken as pixels",)
        )
    if not math.isfinite(scale) or not scale:
        scale = 1.0
    listed = values if values is not None else offset + scale * np.arange(size)
    if unit == "pixel" and values is None:
        return AxisState(
            _plain("energy", size), ("the file does not list energies: frames are counted",)
        )
    factor, notes = 1.0, []
    if unit == "keV":
        factor = 1e3
    elif 0 < float(np.max(listed)) < MIN_ENERGY_EV:
        factor = 1e3
        notes.append(
            f"energies of {listed.min():g} to {listed.max():g} {unit} cannot be eV:"
            " taken as keV and converted"
        )
    elif unit == "pixel":
        notes.append("energies carry no unit; taken as eV")
    if float(np.min(listed)) <= 0:
        said = f"energies of {listed.min():g} to {listed.max():g} {unit} are impossible"
        return AxisState(_plain("energy", size), (f"{said}: frames are counted instead",))
    if len(set(np.round(listed, 9))) < len(listed):
        notes.append("several frames carry the same energy")
    # Frames of one energy have no step: only the list itself says so.
    plain = even and (values is None or values.size < 2 or float(np.ptp(values)) > 0)
    exact = None if plain else tuple(float(v) * factor for v in listed)
    return AxisState(
        Axis("energy", size, (scale or 1.0) * factor, float(listed[0]) * factor, "eV", exact),
        tuple(notes),
    )
