"""The search: every orientation in reach, frames against diffsims, chunks, devices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_diffmap.crystal.frames import from_pyxem
from napari_diffmap.crystal.phases import CrystalPhase, load_phase
from napari_diffmap.errors import CancelledError
from napari_diffmap.maps.quaternions import disorientation
from napari_diffmap.methods.orientation import candidates as module
from napari_diffmap.methods.orientation.candidates import SearchSettings
from napari_diffmap.methods.orientation.odds import IntensityModel
from napari_diffmap.methods.orientation.search import OrientationSearch
from napari_diffmap.methods.registration.spots import PeakBatch

#: Gaussian excitation, as most patterns here are drawn.
KINEMATIC = IntensityModel(sigma=0.014)
SETTINGS = SearchSettings(
    voltage_kv=200.0,
    pixel_size=0.0225,
    q_min=0.1,
    q_max=1.4,
    rings=32,
    angles=90,
    zone_step_deg=3.0,
    sigma=0.03,
    precession_deg=0.0,
    intensity_power=0.25,
    refine=True,
    distinct_deg=8.0,
    memory=512 << 20,
    intensities=(KINEMATIC,),
)

MONOCLINIC = """data_m
_cell_length_a 5.17
_cell_length_b 5.23
_cell_length_c 5.34
_cell_angle_alpha 90
_cell_angle_beta 99.25
_cell_angle_gamma 90
loop_
_symmetry_equiv_pos_as_xyz
'x,y,z'
'x,1/2-y,1/2+z'
'-x,1/2+y,1/2-z'
'-x,-y,-z'
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Zr 0.2758 0.0404 0.2089
O1 0.0690 0.3420 0.3450
O2 0.4510 0.7580 0.4790
"""

TRICLINIC = """data_t
_cell_length_a 4.1
_cell_length_b 5.3
_cell_length_c 6.2
_cell_angle_alpha 82
_cell_angle_beta 97
_cell_angle_gamma 105
loop_
_symmetry_equiv_pos_as_xyz
'x,y,z'
'-x,-y,-z'
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Fe1 0.10 0.23 0.31
S1 0.42 0.71 0.15
O1 0.77 0.35 0.62
"""


@pytest.fixture(scope="module")
def monoclinic(tmp_path_factory: pytest.TempPathFactory) -> CrystalPhase:
    path = tmp_path_factory.mktemp("cif") / "zirconia.cif"
    path.write_text(MONOCLINIC, encoding="utf-8")
    return load_phase(path)


@pytest.fixture(scope="module")
def triclinic(tmp_path_factory: pytest.TempPathFactory) -> CrystalPhase:
    path = tmp_path_factory.mktemp("cif") / "triclinic.cif"
    path.write_text(TRICLINIC, encoding="utf-8")
    return load_phase(path)


def errors(
    search: OrientationSearch, phase: CrystalPhase, peaks: PeakBatch, q: np.ndarray
) -> np.ndarray:
    answers = search.match(peaks, 5)
    found = search.rotations(answers)
    every = [disorientation(found[:, i], q, phase.symmetry) for i in range(found.shape[1])]
    return np.stack(every, axis=1)


@pytest.mark.parametrize("name", ["LiNiO2", "NiO", "WS2", "monoclinic", "triclinic"])
def test_random_orientations_of_every_laue_class_are_recovered(
    bench: Any, name: str, request: pytest.FixtureRequest
) -> None:
    """-3m, m-3m, 6/mmm, 2/m (unique axis b) and -1, from perfect spots.

    Without the mirrored copies of the templates half of all orientations would be
    out of reach.
    """
    phase = request.getfixturevalue(name) if name.endswith("clinic") else load_phase(name)
    group = {"LiNiO2": 6, "NiO": 24, "WS2": 12, "monoclinic": 2, "triclinic": 1}[name]
    assert len(phase.symmetry) == group
    q = bench.random_rotations(48, 7)
    peaks = bench.perfect_peaks(phase, q)
    search = OrientationSearch([phase], SETTINGS)
    off = errors(search, phase, peaks, q)
    assert (off.min(axis=1) < 2.0).mean() > 0.95
    assert (off[:, 0] < 2.0).mean() > 0.8
    assert np.median(off[:, 0]) < 0.5


def test_half_the_sphere_needs_the_mirror_copies(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    phase = load_phase("LiNiO2")
    q = bench.random_rotations(40, 3)
    peaks = bench.perfect_peaks(phase, q)
    real = module.correlate

    def without_mirrors(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        found.score[..., 1] = -5.0
        return found

    monkeypatch.setattr(module, "correlate", without_mirrors)
    monkeypatch.setattr(module, "_COARSE", 3)
    poor = errors(OrientationSearch([phase], SETTINGS), phase, peaks, q)
    assert (poor.min(axis=1) < 2.0).mean() < 0.85


def test_any_orientation_is_among_the_answers(bench: Any) -> None:
    phase = load_phase("LiNiO2")
    off = []
    for seed in range(6):
        q = bench.random_rotations(60, seed)
        off.append(errors(_search(), phase, bench.perfect_peaks(phase, q), q).min(axis=1))
    # Measured: 0.989.
    assert (np.concatenate(off) < 3.0).mean() >= 0.98


_CACHE: dict[str, OrientationSearch] = {}


def _search() -> OrientationSearch:
    if "LiNiO2" not in _CACHE:
        _CACHE["LiNiO2"] = OrientationSearch([load_phase("LiNiO2")], SETTINGS)
    return _CACHE["LiNiO2"]


@pytest.mark.parametrize(("excitation", "share"), [(0.02, 0.75), (0.04, 0.95)])
def test_frame_against_patterns_of_diffsims(excitation: float, share: float) -> None:
    """Patterns simulated by diffsims come back as the orientation diffsims was given.

    Half the patterns have 7 spots or fewer at 0.02 1/Å and 15 at 0.04.
    """
    from diffsims.generators.simulation_generator import SimulationGenerator
    from orix.quaternion import Rotation

    phase = load_phase("LiNiO2")
    theirs = np.random.default_rng(12).normal(size=(24, 4))
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    simulated = SimulationGenerator(
        accelerating_voltage=200, scattering_params="lobato", minimum_intensity=1e-4
    ).calculate_diffraction2d(
        phase.orix,
        rotation=Rotation(theirs),
        reciprocal_radius=1.4,
        max_excitation_error=excitation,
        with_direct_beam=False,
    )
    lists = []
    for vectors in simulated.coordinates:
        # Their y points up, ours down.
        rows = np.column_stack((vectors.data[:, 0], -vectors.data[:, 1], vectors.intensity))
        lists.append(rows[np.argsort(-rows[:, 2])][:60])
    out = np.zeros((3, len(lists), max(len(rows) for rows in lists)), dtype=np.float32)
    for i, rows in enumerate(lists):
        out[:, i, : len(rows)] = rows.T
    kx, ky, intensity = (torch.as_tensor(values) for values in out)
    peaks = PeakBatch(kx, ky, intensity, torch.ones_like(intensity))
    off = errors(_search(), phase, peaks, from_pyxem(theirs))
    assert (off.min(axis=1) < 2.0).mean() > share
    assert np.median(off[:, 0]) < 1.0


def test_memory_bound_changes_nothing(bench: Any) -> None:
    """Templates made on the fly in chunks give the same answers as cached ones."""
    phase = load_phase("LiNiO2")
    q = bench.random_rotations(8, 21)
    peaks = bench.perfect_peaks(phase, q)
    small = OrientationSearch([phase], replace(SETTINGS, memory=1 << 20))
    assert small.phases[0].cached is None
    assert small.batch == 1
    one, two = _search().match(peaks, 3), small.match(peaks, 3)
    torch.testing.assert_close(one.score, two.score, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.matrices, two.matrices, atol=1e-4, rtol=1e-4)


def test_batches_do_not_see_each_other(bench: Any) -> None:
    phase = load_phase("LiNiO2")
    peaks = bench.perfect_peaks(phase, bench.random_rotations(6, 31))
    together = _search().match(peaks, 2)
    alone = _search().match(peaks.take(torch.tensor([3])), 2)
    torch.testing.assert_close(together.score[3:4], alone.score, atol=1e-5, rtol=1e-5)


def test_phases_compete_at_once(bench: Any) -> None:
    phases = [load_phase("LiNiO2"), load_phase("NiO")]
    search = OrientationSearch(phases, SETTINGS)
    right = 0
    for number, phase in enumerate(phases):
        q = bench.random_rotations(16, 41 + number)
        answers = search.match(bench.perfect_peaks(phase, q), 3)
        right += int((answers.phase[:, 0] == number).sum())
        assert (answers.score[:, 0] >= answers.score[:, 1] - 1e-6).all()
    assert right >= 29


def test_answers_are_distinct(bench: Any) -> None:
    phase = load_phase("NiO")
    search = OrientationSearch([phase], SETTINGS)
    answers = search.match(bench.perfect_peaks(phase, bench.random_rotations(12, 51)), 4)
    found = search.rotations(answers)
    for i in range(4):
        for j in range(i):
            both = (answers.phase[:, i] >= 0) & (answers.phase[:, j] >= 0)
            gap = disorientation(found[:, i], found[:, j], phase.symmetry)
            assert (gap[both.numpy()] > SETTINGS.distinct_deg - 3).all()


def test_no_spots_no_answer() -> None:
    none = torch.zeros(2, 1)
    answers = _search().match(PeakBatch(none, none, none, none), 3)
    assert (answers.phase == -1).all()
    assert torch.isfinite(answers.matrices).all()


def test_building_can_be_stopped() -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        OrientationSearch([load_phase("NiO")], SETTINGS, progress=stop)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_gpu_agrees_with_cpu(bench: Any) -> None:
    phase = load_phase("LiNiO2")
    peaks = bench.perfect_peaks(phase, bench.random_rotations(32, 61))
    gpu = OrientationSearch([phase], SETTINGS, "cuda")
    there = PeakBatch(*(getattr(peaks, n).cuda() for n in ("kx", "ky", "intensity", "trust")))
    one, two = _search().match(peaks, 1), gpu.match(there, 1)
    same = (one.score[:, 0] - two.score[:, 0].cpu()).abs() < 1e-3
    assert float(same.float().mean()) > 0.95
