"""What must be known of a scan before its spots can be found."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError, CalibrationError
from napari_diffmap.methods.registration.background import measure_noise
from napari_diffmap.methods.registration.bad_pixels import find_bad_pixels
from napari_diffmap.methods.registration.fit import NoiseModel
from napari_diffmap.methods.registration.parameters import RegistrationParameters
from napari_diffmap.methods.registration.spot_size import measure_spot_sigma
from napari_diffmap.methods.registration.spots import Detector, smallest_step
from napari_diffmap.scan.beam import measure_beams
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.descan import fit_descan
from napari_diffmap.scan.sampling import sample_patterns
from napari_diffmap.scan.scan import Scan


@dataclass(frozen=True, eq=False)
class Setting:
    """Geometry and noise of a scan's patterns.

    Attributes
    ----------
    detector
        In pixels (``pixel_size`` 1).
    calibration
        With a centre, and a descan where the beam walks.
    scan_shape
        Rows and columns.
    beam_radius
        Radius of the direct beam at half height, pixels.
    noise
        How the noise grows with the signal, of one pattern.
    frames, places
        ``(n, ky, kx)`` some patterns and their ``(n, 2)`` scan positions.
    """

    detector: Detector
    calibration: Calibration
    scan_shape: tuple[int, int]
    beam_radius: float
    noise: NoiseModel
    frames: NDArray[np.float32]
    places: NDArray[np.float64]

    @property
    def scale(self) -> float:
        """Unit of the peaks' positions per pixel: 1/Å, or 1 where nobody knows."""
        return self.calibration.pixel_size or 1.0

    def centers(self, rows: slice, columns: slice) -> NDArray[np.float64]:
        """Direct beam of a block of positions, ``(ny, nx, 2)`` pixels."""
        y = np.arange(rows.start, rows.stop)[:, None]
        x = np.arange(columns.start, columns.stop)[None, :]
        return self.calibration.centers(y, x, self.scan_shape)


def find_setting(scan: Scan, parameters: RegistrationParameters) -> Setting:
    """Take the geometry from the calibration, or measure it on some patterns.

    Raises
    ------
    BadInputError
        If the scan has no patterns, or the limits leave nothing to search.
    """
    scan.need_patterns("spots need")
    if min(scan.shape[2:]) < 16:
        raise BadInputError(
            f"patterns of {scan.shape[2]} × {scan.shape[3]} pixels are too small for spots"
        )
    frames, places = sample_patterns(scan)
    bad = find_bad_pixels(frames) if parameters.hot_pixels else None
    calibration, radius = _beam(scan, frames, places, bad)
    assert calibration.center is not None
    shape = (int(scan.shape[2]), int(scan.shape[3]))
    inner = 2.0 * radius + 2.0 if parameters.inner is None else parameters.inner
    far = [max(c, n - c) for c, n in zip(calibration.center, shape, strict=True)]
    corner = float(np.hypot(far[0], far[1]))
    outer = corner if parameters.outer is None else parameters.outer
    if outer <= inner:
        raise BadInputError(
            f"nothing lies between {inner:.1f} and {outer:.1f} pixels from the beam: lower the"
            " inner limit"
        )
    counts = smallest_step(scan.dtype, frames)
    first = Detector(
        shape=shape,
        pixel_size=1.0,
        q_min=inner,
        q_max=outer,
        spot_sigma=float(np.clip(0.75 * radius, 1.0, 6.0)),
        threshold=6.0,
        subtract_background=parameters.background != "none",
        bad=bad,
        quantum=counts,
    )
    if parameters.spot_radius is not None:
        sigma = 0.75 * parameters.spot_radius
    else:
        chosen = slice(None, None, max(1, len(frames) // 40))
        beams = calibration.centers(places[chosen, 0], places[chosen, 1], scan.shape[:2])
        sigma = measure_spot_sigma(frames[chosen], beams, first)
    return Setting(
        detector=replace(first, spot_sigma=float(np.clip(sigma, 0.7, 12.0))),
        calibration=calibration,
        scan_shape=(int(scan.shape[0]), int(scan.shape[1])),
        beam_radius=radius,
        noise=measure_noise(frames, counts > 0),
        frames=frames[:: max(1, len(frames) // 24)],
        places=places[:: max(1, len(places) // 24)],
    )


def _beam(
    scan: Scan,
    frames: NDArray[np.float32],
    places: NDArray[np.float64],
    bad: NDArray[np.bool_] | None,
) -> tuple[Calibration, float]:
    """The calibration with a beam for every position, and the beam's radius in pixels."""
    known = scan.calibration
    try:
        beams, radius, _ = measure_beams(frames, known.center, bad=bad)
        measured = fit_descan(beams, places, scan.shape[:2]).applied_to(known)
    except CalibrationError:
        # Behind a stop, or off the detector: rings about the middle do.
        middle = ((scan.shape[2] - 1) / 2, (scan.shape[3] - 1) / 2)
        return (known if known.center else known.with_center(middle, "measured")), 1.5
    if known.knows("descan"):
        return known, radius
    if known.center is not None and known.center_origin == "entered":
        measured = measured.with_center(known.center, "entered")
    return measured, radius
