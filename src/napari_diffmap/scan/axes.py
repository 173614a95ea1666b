"""Axes of a scan: a name from the field, a scale, an offset and a unit."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError

#: Spellings found in files, and the one spelling used here.  The right-hand
#: side is what napari 0.9 parses ("px" would read as a CSS pixel).
_UNITS = {
    "": "pixel",
    "<undefined>": "pixel",
    "undefined": "pixel",
    "none": "pixel",
    "pixels": "pixel",
    "pixel": "pixel",
    "px": "pixel",
    "pix": "pixel",
    "a.u.": "pixel",
    "pixel(s)": "pixel",
    "å": "Å",
    "a": "Å",
    "ang": "Å",
    "angstrom": "Å",
    "angstroms": "Å",
    "nm": "nm",
    "nanometer": "nm",
    "nanometers": "nm",
    "um": "µm",
    "µm": "µm",
    "μm": "µm",
    "micron": "µm",
    "microns": "µm",
    "micrometer": "µm",
    "mm": "mm",
    "cm": "cm",
    "m": "m",
    "pm": "pm",
    "1/å": "1/Å",
    "å^-1": "1/Å",
    "å-1": "1/Å",
    "a^-1": "1/Å",
    "1/a": "1/Å",
    "å⁻¹": "1/Å",
    "1/angstrom": "1/Å",
    "angstrom^-1": "1/Å",
    "k_a^{-1}": "1/Å",
    "$a^{-1}$": "1/Å",
    "$å^{-1}$": "1/Å",
    "1/nm": "1/nm",
    "nm^-1": "1/nm",
    "nm-1": "1/nm",
    "nm⁻¹": "1/nm",
    "1 / nm": "1/nm",
    "1 / å": "1/Å",
    "å^{-1}": "1/Å",
    "a^{-1}": "1/Å",
    "1/pm": "1/pm",
    "1 / pm": "1/pm",
    "1/um": "1/µm",
    "1/µm": "1/µm",
    "1/μm": "1/µm",
    "1 / um": "1/µm",
    "1 / µm": "1/µm",
    "1 / μm": "1/µm",
    "mrad": "mrad",
    "mrads": "mrad",
    "milliradian": "mrad",
    "rad": "rad",
    "deg": "degree",
    "degree": "degree",
    "degrees": "degree",
    "°": "degree",
    "ev": "eV",
    "kev": "keV",
    "s": "s",
    "sec": "s",
    "seconds": "s",
    "ms": "ms",
}

#: Lengths in nm, reciprocal lengths in 1/Å, energies in eV, angles in degree.
_CANONICAL = {
    "Å": ("nm", 0.1),
    "pm": ("nm", 1e-3),
    "nm": ("nm", 1.0),
    "µm": ("nm", 1e3),
    "mm": ("nm", 1e6),
    "cm": ("nm", 1e7),
    "m": ("nm", 1e9),
    "1/Å": ("1/Å", 1.0),
    "1/nm": ("1/Å", 0.1),
    "1/pm": ("1/Å", 100.0),
    "1/µm": ("1/Å", 1e-4),
    "eV": ("eV", 1.0),
    "keV": ("eV", 1e3),
}


def normalise_unit(unit: object) -> str | None:
    """One spelling for a unit found in a file.

    Parameters
    ----------
    unit
        Whatever the file says; ``None`` and empty mean *pixel*.

    Returns
    -------
    str or None
        A unit that napari parses, or None when the spelling is unknown (the
        caller warns and falls back to *pixel*).
    """
    if unit is None:
        return "pixel"
    text = unit.decode("utf-8", "replace") if isinstance(unit, bytes) else str(unit)
    key = re.sub(r"\s+", " ", text.strip()).replace("\u212b", "Å").lower()
    if key.startswith("[") and key.endswith("]"):  # Berkeley EMD writes [n_m], [1_/_n_m], []
        key = key[1:-1].replace("_", "")
    return _UNITS.get(key)


@dataclass(frozen=True)
class Axis:
    """One axis of a scan.

    Attributes
    ----------
    name
        ``y x`` on the sample, ``ky kx`` on an electron detector, ``qy qx`` on an
        X-ray detector, ``energy``, ``time``, ``angle`` or ``frame``.
    size
        Number of samples.
    scale, offset
        Coordinate of sample *i* is ``offset + i * scale``, in `unit`.
    unit
        A unit napari parses: ``nm``, ``1/Å``, ``mrad``, ``eV``, ``degree``,
        ``s`` or ``pixel`` when nothing is known.
    values
        Coordinates of all samples when they are not evenly spaced (the energies
        of an STXM stack); `scale` is then their mean step.
    """

    name: str
    size: int
    scale: float = 1.0
    offset: float = 0.0
    unit: str = "pixel"
    values: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.scale or self.scale != self.scale or abs(self.scale) == float("inf"):
            raise BadInputError(
                f"axis {self.name}: a scale of {self.scale} {self.unit} is impossible"
            )
        if self.values is not None and len(self.values) != self.size:
            raise BadInputError(
                f"axis {self.name}: {len(self.values)} coordinates do not fit {self.size} samples"
            )

    @property
    def coordinates(self) -> NDArray[np.float64]:
        """Coordinate of every sample ``(size,)``, evenly spaced or not, in `unit`."""
        if self.values is not None:
            return np.asarray(self.values, dtype=np.float64)
        return self.offset + self.scale * np.arange(self.size, dtype=np.float64)

    @property
    def calibrated(self) -> bool:
        """Whether the file (or the user) gave a physical unit."""
        return self.unit != "pixel"

    def canonical(self) -> Axis:
        """The same axis in nm, 1/Å or eV where its unit converts to one."""
        unit, factor = _CANONICAL.get(self.unit, (self.unit, 1.0))
        values = None if self.values is None else tuple(v * factor for v in self.values)
        return Axis(self.name, self.size, self.scale * factor, self.offset * factor, unit, values)
