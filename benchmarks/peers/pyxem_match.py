"""Orientations by pyxem's polar template matching, in this project's own environment.

pyxem is given what only a simulation has: the disks without background, noise or direct
beam, around an exact center.  Polar images, the square root of the intensities as pyxem
advises, templates of diffsims over zone axes 2° apart, both mirrors, all templates kept.

Frames: the laboratory of pyxem's answers, as ``to_rotation`` gives them for images with
rows downwards, is ours turned half way about y.  On kinematic patterns of Au this alone, of
the 24 ways to turn one right-angled frame into another, puts most (74 %) within 3°, and
equally for both mirrors.  On kinematic patterns of trigonal LiNiO2 it puts only 25 %, so
there the conversion is not verified and no figure is given (`VERIFIED`).
"""

from __future__ import annotations

import contextlib
import io
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.crystal.phases import CrystalPhase

Q_MAX, STEP_DEG = 1.5, 2.0
#: Width of the templates in excitation error, 1/Å; of 0.03 and 0.06 the better.
EXCITATION = 0.06
GAMMA = 0.5
#: Laue groups for which the frames were checked.
VERIFIED = ("m-3m",)
OURS = np.diag([-1.0, 1.0, -1.0])


def center(shape: tuple[int, int]) -> tuple[float, float]:
    """Where the direct beam is put, pixels."""
    return shape[0] / 2, shape[1] / 2


def templates(phase: CrystalPhase) -> Any:
    """Kinematic patterns of the zone axes that the symmetry leaves."""
    from diffsims.generators.simulation_generator import SimulationGenerator
    from orix.sampling import get_sample_reduced_fundamental

    grid = get_sample_reduced_fundamental(STEP_DEG, point_group=phase.orix.point_group)
    return SimulationGenerator(200).calculate_diffraction2d(
        phase.orix,
        rotation=grid,
        reciprocal_radius=Q_MAX,
        with_direct_beam=False,
        max_excitation_error=EXCITATION,
    )


def match(
    images: NDArray[np.float64], phase: CrystalPhase, pixel: float
) -> tuple[NDArray[np.float64], float]:
    """First answers ``(n, 3, 3)`` in our frame, and patterns a second without the templates."""
    import hyperspy.api as hs
    from orix.quaternion import Rotation

    hs.set_log_level("ERROR")  # it warns of axes of two units, as polar images have
    simulation = templates(phase)
    with contextlib.redirect_stderr(io.StringIO()):
        _orientations(images[:2], simulation, pixel)  # compiles
        start = time.perf_counter()
        found = _orientations(images, simulation, pixel)
        speed = len(images) / (time.perf_counter() - start)
        answers = np.asarray(found.to_rotation().data).reshape(-1, 4)
    return Rotation(answers).to_matrix() @ OURS, speed


def _orientations(images: NDArray[np.float64], simulation: Any, pixel: float) -> Any:
    from pyxem.signals import ElectronDiffraction2D

    signal = ElectronDiffraction2D(images[None])
    signal.calibration(scale=pixel, center=None)
    signal.calibration.center = center(images.shape[1:])
    signal.unit = "k_A^-1"
    polar = signal.get_azimuthal_integral2d(
        npt=112, npt_azim=360, radial_range=(0.0, Q_MAX), mean=True, show_progressbar=False
    )
    return (polar**GAMMA).get_orientation(simulation, n_best=1, frac_keep=1, show_progressbar=False)
