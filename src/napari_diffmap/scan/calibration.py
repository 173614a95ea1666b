"""Geometry of a scan's patterns: beam, descan, pixel size, ellipse, rotation, voltage.

Each value knows where it came from and, where it was fitted, with what residual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_diffmap.errors import CalibrationError

#: Where a calibrated value came from; shown beside it in every form.
Origin = Literal["missing", "file", "measured", "entered"]

#: The values of a calibration, in the order in which they are fitted.
PARTS = ("center", "descan", "pixel_size", "ellipse", "rotation", "voltage")

#: Number of descan coefficients (rows) of each order of the polynomial.
DESCAN_ROWS = {1: 2, 2: 5}


def electron_wavelength(voltage_kv: float) -> float:
    """Relativistic electron wavelength in Å.

    Parameters
    ----------
    voltage_kv
        Accelerating voltage in kV.

    Raises
    ------
    CalibrationError
        If the voltage is not between 1 and 3000 kV.

    Notes
    -----
    De Graef, *Introduction to Conventional Transmission Electron Microscopy*
    (2003), eq. 2.20: ``12.2643 / sqrt(V (1 + 0.978459e-6 V))`` with V in volt.
    """
    if not 1 <= voltage_kv <= 3000:
        raise CalibrationError(
            f"an accelerating voltage of {voltage_kv:g} kV is impossible: give kV, e.g. 200"
        )
    volt = voltage_kv * 1e3
    return 12.2643 / math.sqrt(volt * (1 + 0.978459e-6 * volt))


def undistortion_matrix(ratio: float, angle_deg: float) -> NDArray[np.float64]:
    """Matrix that makes circles of the ellipses that a detector draws.

    Parameters
    ----------
    ratio
        Long over short axis of what should be a circle, at least 1.
    angle_deg
        Direction of the long axis in degrees from kx (along the columns, to the
        right) towards ky (along the rows, down).

    Returns
    -------
    ndarray (2, 2)
        Takes an offset ``(ky, kx)`` from the direct beam in detector pixels to the
        undistorted one.  Symmetric with determinant 1: the pixel size is the
        geometric mean of those along the two axes.
    """
    angle = math.radians(angle_deg)
    along = np.array((math.sin(angle), math.cos(angle)))
    across = np.array((math.cos(angle), -math.sin(angle)))
    stretch = math.sqrt(ratio)
    matrix: NDArray[np.float64] = np.outer(along, along) / stretch
    return matrix + np.outer(across, across) * stretch


def polynomial_terms(rows: ArrayLike, columns: ArrayLike, terms: int) -> NDArray[np.float64]:
    """Terms of a descan polynomial, ``(..., terms)``: y, x, and then y², yx, x².

    Parameters
    ----------
    rows, columns
        Scan positions counted from the middle of the scan; they broadcast.
    terms
        0, 2 or 5.
    """
    y, x = np.broadcast_arrays(
        np.asarray(rows, dtype=np.float64), np.asarray(columns, dtype=np.float64)
    )
    every = (y, x, y * y, y * x, x * x)
    return np.stack(every[:terms], axis=-1) if terms else np.zeros((*y.shape, 0))


@dataclass(frozen=True)
class Calibration:
    """Geometry of the patterns of a scan.

    Attributes
    ----------
    center
        Direct-beam position ``(ky, kx)`` in detector pixels; pixel centres are
        at integers.  With a descan: in the middle of the scan.  None when unknown.
    pixel_size
        Detector pixel in 1/Å (without 2π).  None when unknown.
    voltage_kv
        Accelerating voltage in kV.  None when unknown.
    center_origin, pixel_size_origin, voltage_origin
        Where each value came from.
    descan
        How the beam moves over the scan: coefficients ``(ky, kx)`` in pixels of the
        terms y, x and, for the second order, y², yx, x², with positions counted from
        the middle of the scan (see `polynomial_terms`).  None: it stands still, or
        nobody knows.
    ellipse
        Long over short axis of what should be a circle, and the direction of the
        long axis in degrees (see `undistortion_matrix`).  None: a circle.
    rotation_deg
        Direction of the scan's x axis on the detector, in degrees from kx towards
        ky, after a transposition.  None: they are taken as parallel.
    transposed
        Whether rows and columns of the detector are exchanged against the scan.
    descan_origin, ellipse_origin, rotation_origin
        Where each of them came from.
    residuals
        Pairs of a part (one of `PARTS`) and what its fit left, in words.
    """

    center: tuple[float, float] | None = None
    pixel_size: float | None = None
    voltage_kv: float | None = None
    center_origin: Origin = "missing"
    pixel_size_origin: Origin = "missing"
    voltage_origin: Origin = "missing"
    descan: tuple[tuple[float, float], ...] | None = None
    ellipse: tuple[float, float] | None = None
    rotation_deg: float | None = None
    transposed: bool = False
    descan_origin: Origin = "missing"
    ellipse_origin: Origin = "missing"
    rotation_origin: Origin = "missing"
    residuals: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.center is not None and not all(map(math.isfinite, self.center)):
            raise CalibrationError(f"a centre of {self.center} is impossible: give (row, column)")
        if self.pixel_size is not None and not 0 < self.pixel_size < 10:
            raise CalibrationError(
                f"a detector pixel of {self.pixel_size:g} 1/Å is impossible:"
                " give 1/Å per pixel, e.g. 0.01"
            )
        if self.voltage_kv is not None:
            electron_wavelength(self.voltage_kv)
        if self.descan is not None:
            _check_descan(self.descan)
        if self.ellipse is not None:
            object.__setattr__(self, "ellipse", _checked_ellipse(*self.ellipse))
        if self.rotation_deg is not None and not abs(self.rotation_deg) <= 360:
            raise CalibrationError(
                f"a scan rotation of {self.rotation_deg:g}° is impossible: give -180 to 180 degrees"
            )

    # ------------------------------------------------------------- changing
    def with_center(
        self, center: tuple[float, float], origin: Origin, residual: str = ""
    ) -> Calibration:
        """The same calibration with another direct-beam position (pixels)."""
        return self._with("center", residual, center=center, center_origin=origin)

    def with_pixel_size(self, pixel_size: float, origin: Origin, residual: str = "") -> Calibration:
        """The same calibration with another detector pixel (1/Å)."""
        return self._with("pixel_size", residual, pixel_size=pixel_size, pixel_size_origin=origin)

    def with_voltage(self, voltage_kv: float, origin: Origin, residual: str = "") -> Calibration:
        """The same calibration with another accelerating voltage (kV)."""
        return self._with("voltage", residual, voltage_kv=voltage_kv, voltage_origin=origin)

    def with_descan(
        self, descan: tuple[tuple[float, float], ...], origin: Origin, residual: str = ""
    ) -> Calibration:
        """The same calibration with another descan (see the attribute)."""
        return self._with("descan", residual, descan=descan, descan_origin=origin)

    def with_ellipse(
        self, ellipse: tuple[float, float], origin: Origin, residual: str = ""
    ) -> Calibration:
        """The same calibration with another ellipse (ratio of axes, degrees)."""
        return self._with("ellipse", residual, ellipse=ellipse, ellipse_origin=origin)

    def with_rotation(
        self, rotation_deg: float, origin: Origin, residual: str = "", *, transposed: bool = False
    ) -> Calibration:
        """The same calibration with another rotation of the scan (degrees)."""
        return self._with(
            "rotation",
            residual,
            rotation_deg=rotation_deg,
            transposed=transposed,
            rotation_origin=origin,
        )

    def without(self, part: str) -> Calibration:
        """The same calibration with one of `PARTS` unknown again."""
        return self.with_part(part, Calibration())

    def with_part(self, part: str, other: Calibration) -> Calibration:
        """The same calibration with one of `PARTS` taken from another one."""
        names = {"voltage": ("voltage_kv",), "rotation": ("rotation_deg", "transposed")}
        fields = (*names.get(part, (part,)), f"{part}_origin")
        values = {name: getattr(other, name) for name in fields}
        return self._with(part, other.residual(part), **values)

    def _with(self, part: str, residual: str, **values: Any) -> Calibration:
        kept = tuple(pair for pair in self.residuals if pair[0] != part)
        if residual:
            kept = tuple(sorted((*kept, (part, residual))))
        return replace(self, residuals=kept, **values)

    # -------------------------------------------------------------- reading
    def origin(self, part: str) -> Origin:
        """Where one of `PARTS` came from."""
        found: Origin = getattr(self, f"{part}_origin")
        return found

    def knows(self, part: str) -> bool:
        """Whether one of `PARTS` has a value."""
        name = {"voltage": "voltage_kv", "rotation": "rotation_deg"}.get(part, part)
        return getattr(self, name) is not None

    def residual(self, part: str) -> str:
        """What the fit of one of `PARTS` left, in words; empty when it was not fitted."""
        return dict(self.residuals).get(part, "")

    @property
    def undistortion(self) -> NDArray[np.float64]:
        """Matrix ``(2, 2)`` from detector offsets (ky, kx) to undistorted ones.

        The ellipse first, then the transposition.
        """
        matrix = undistortion_matrix(*self.ellipse) if self.ellipse else np.eye(2)
        return matrix[::-1].copy() if self.transposed else matrix

    def centers(
        self, rows: ArrayLike, columns: ArrayLike, scan_shape: tuple[int, ...]
    ) -> NDArray[np.float64]:
        """Direct beam ``(..., 2)`` in pixels at scan positions, which broadcast.

        Raises
        ------
        CalibrationError
            If the centre is unknown.
        """
        if self.center is None:
            raise CalibrationError("the centre of the patterns is unknown: fit it or enter it")
        coefficients = np.asarray(self.descan or np.zeros((0, 2))).reshape(-1, 2)
        y = np.asarray(rows, dtype=np.float64) - (scan_shape[0] - 1) / 2
        x = np.asarray(columns, dtype=np.float64) - (scan_shape[1] - 1) / 2
        moved = polynomial_terms(y, x, len(coefficients)) @ coefficients
        return np.asarray(self.center + moved)

    @property
    def complete(self) -> bool:
        """Whether orientations can be mapped: centre, pixel size and voltage known."""
        return None not in (self.center, self.pixel_size, self.voltage_kv)

    def missing(self) -> tuple[str, ...]:
        """What is missing, in the user's words."""
        return tuple(
            word
            for word, value in (
                ("centre", self.center),
                ("pixel size", self.pixel_size),
                ("voltage", self.voltage_kv),
            )
            if value is None
        )

    def summary(self) -> str:
        """One line for the panel, e.g. ``centre 63.5, 63.5 px (measured) · …``."""
        center = (
            f"centre {self.center[0]:.1f}, {self.center[1]:.1f} px ({self.center_origin})"
            if self.center
            else "centre missing"
        )
        size = (
            f"{self.pixel_size:.5g} 1/Å per px ({self.pixel_size_origin})"
            if self.pixel_size
            else "pixel size missing"
        )
        volt = (
            f"{self.voltage_kv:g} kV ({self.voltage_origin})"
            if self.voltage_kv
            else "voltage missing"
        )
        more = (
            part for part in ("descan", "ellipse", "rotation") if self.origin(part) != "missing"
        )
        return " · ".join((center, size, volt, *(self.in_words(part) for part in more)))

    def in_words(self, part: str) -> str:
        """Descan, ellipse or rotation with its origin, e.g. ``ellipse 1.021 at 40° (measured)``."""
        origin = self.origin(part)
        if part == "descan" and self.descan is not None:
            order = next(k for k, rows in DESCAN_ROWS.items() if rows == len(self.descan))
            return f"descan of order {order} ({origin})"
        if part == "ellipse" and self.ellipse is not None:
            return f"ellipse {self.ellipse[0]:.4f} at {self.ellipse[1]:.0f}° ({origin})"
        if part == "rotation" and self.rotation_deg is not None:
            turned = ", transposed" if self.transposed else ""
            return f"scan rotation {self.rotation_deg:.1f}°{turned} ({origin})"
        return f"{part} missing"


def _check_descan(descan: tuple[tuple[float, float], ...]) -> None:
    if len(descan) not in DESCAN_ROWS.values():
        raise CalibrationError(
            f"a descan has 2 or 5 pairs of coefficients, not {len(descan)}: fit it again"
        )
    if not np.isfinite(np.asarray(descan, dtype=np.float64)).all():
        raise CalibrationError("a descan with a coefficient that is no number: fit it again")


def _checked_ellipse(ratio: float, angle_deg: float) -> tuple[float, float]:
    """Ratio at least 1, angle 0 to 180°."""
    if not (math.isfinite(angle_deg) and 0.5 <= ratio <= 2):
        raise CalibrationError(
            f"an ellipse of ratio {ratio:g} at {angle_deg:g}° is impossible: give long over"
            " short axis, e.g. 1.02, and degrees"
        )
    if ratio < 1:
        ratio, angle_deg = 1 / ratio, angle_deg + 90
    return float(ratio), float(angle_deg % 180)
