"""From detector pixels to the frame of the map and back: ellipse, transposition, rotation.

Patterns are matched in the *detector frame*: undistorted, x along kx, y along ky.
Answers are given in the *laboratory frame* of the scan: x along its columns.  Where
the scan's x axis points at the angle θ on the detector, a vector of the scan has the
detector components ``v_d = R(θ) v_s``, so ``O_s = O_d R(θ)``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_diffmap.maps.quaternions import multiply
from napari_diffmap.methods.registration.spots import PeakBatch

if TYPE_CHECKING:
    from napari_diffmap.methods.orientation.geometry import Geometry


def undistorted(peaks: PeakBatch, geometry: Geometry) -> PeakBatch:
    """Spots with the detector's ellipse and transposition taken out."""
    if not geometry.distorted:
        return peaks
    matrix = torch.as_tensor(geometry.matrix, dtype=peaks.ky.dtype, device=peaks.ky.device)
    ky = matrix[0, 0] * peaks.ky + matrix[0, 1] * peaks.kx
    kx = matrix[1, 0] * peaks.ky + matrix[1, 1] * peaks.kx
    signal = peaks.signal
    if signal is not None:
        signal = replace(signal, to_pixels=signal.to_pixels @ torch.linalg.inv(matrix))
    return replace(peaks, ky=ky, kx=kx, signal=signal)


def in_scan_frame(rotations: NDArray[Any], geometry: Geometry | None) -> NDArray[Any]:
    """Rotations ``(..., 4)`` detector → crystal as laboratory (scan) → crystal."""
    angle = 0.0 if geometry is None else geometry.rotation_deg
    return _turned(rotations, angle) if angle else rotations


def in_detector_frame(rotations: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """Rotations ``(..., 4)`` laboratory (scan) → crystal as detector → crystal."""
    angle = geometry.rotation_deg
    return _turned(rotations, -angle) if angle else rotations


def _turned(rotations: NDArray[Any], angle_deg: float) -> NDArray[Any]:
    half = np.deg2rad(angle_deg) / 2
    turn = np.array((np.cos(half), 0.0, 0.0, np.sin(half)))
    return multiply(rotations, turn).astype(rotations.dtype)
