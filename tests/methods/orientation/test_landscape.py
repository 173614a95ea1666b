"""The score landscape: highest at the true zone axis, drawn for any Laue group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from orix.crystal_map import Phase

from napari_diffmap.crystal.phases import load_phase, load_phases
from napari_diffmap.crystal.simulate import rotation_matrices
from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import MapPhase
from napari_diffmap.maps.figures.landscape import landscape_picture
from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters
from napari_diffmap.methods.orientation.landscape import score_landscape
from napari_diffmap.methods.orientation.zones import zone_axes
from napari_diffmap.scan.tiles import iter_tiles

GROUPS = {
    "-1": (4, 5, 6, 80, 95, 100),
    "2/m": (4, 5, 6, 90, 100, 90),
    "mmm": (4, 5, 6, 90, 90, 90),
    "4/m": (4, 4, 5, 90, 90, 90),
    "-3m": (3, 3, 7, 90, 90, 120),
    "6/mmm": (3, 3, 5, 90, 90, 120),
    "m-3m": (4, 4, 4, 90, 90, 90),
}


def test_the_true_zone_scores_highest(bench: Any) -> None:
    phases = load_phases(["LiNiO2", "NiO"])
    q = bench.random_rotations(16, 31)
    scan = bench.as_scan(bench.counted(bench.draw(phases[0], q, dose=8000)))
    method = OrientationMethod(OrientationParameters(), phases)
    with pytest.raises(BadInputError, match="prepare"):
        score_landscape(method, bench.perfect_peaks(phases[0], q))
    method.prepare(scan)
    (tile,) = iter_tiles(scan)
    matrices = rotation_matrices(torch.as_tensor(q)).numpy()
    operators = rotation_matrices(torch.as_tensor(phases[0].symmetry)).numpy()
    images = np.concatenate((operators, -operators))
    off = []
    for one, matrix in zip(tile.split(1), matrices, strict=True):
        peaks, _ = method.find_spots(one)
        own, other = score_landscape(method, peaks)
        assert own.score.shape == (len(own.zones),)
        assert (own.score >= 0).all()
        best = own.zones[own.score.argmax()]
        beam = matrix[:, 2]  # O z
        off.append(np.rad2deg(np.arccos(np.clip((images @ beam) @ best, -1, 1).max())))
        assert len(other.zones) != len(own.zones)
    # The grid has steps of 3°.
    assert np.median(off) < 2.5
    assert (np.array(off) < 5).mean() > 0.8


def phase_of(name: str) -> MapPhase:
    from diffpy.structure import Lattice, Structure

    structure = Structure(lattice=Lattice(*GROUPS[name]))
    return MapPhase.from_orix(Phase(name=name, point_group=name, structure=structure))


@pytest.mark.parametrize("name", GROUPS)
def test_every_laue_group_is_drawn_once_and_whole(name: str) -> None:
    """One bright zone axis shows as one bright patch, at the answer put there; nothing is cut."""
    phase = phase_of(name)
    operators = rotation_matrices(
        torch.as_tensor(np.asarray(phase.point_group.laue_proper_subgroup.data))
    ).numpy()
    zones = zone_axes(operators, 5.0)
    score = np.zeros(len(zones))
    chosen = zones[len(zones) // 2]
    score[len(zones) // 2] = 1
    plain = landscape_picture(phase, zones, score, size_px=170)
    assert plain.shape == (170, 170, 4)
    # Labels and border end inside the picture.
    edge = np.concatenate((plain[0], plain[-1], plain[:, 0], plain[:, -1]))
    assert not edge[:, 3].any()
    bright = (plain[..., 0] > 200) & (plain[..., 1] > 180) & (plain[..., 2] < 120)
    assert bright.any()
    marked = landscape_picture(phase, zones, score, [("1", -chosen)], size_px=170)
    changed = np.argwhere((marked != plain).any(axis=-1))
    # The opposite direction is the same zone axis; borders may show it twice.
    gaps = np.linalg.norm(np.argwhere(bright)[:, None] - changed.mean(axis=0), axis=-1)
    assert gaps.min() < 8


def test_the_same_frame_is_used_again(within: Callable[..., Any]) -> None:
    """Only colours change from click to click: no matplotlib in the way."""
    phase = load_phase("LiNiO2")
    operators = rotation_matrices(torch.as_tensor(phase.symmetry)).numpy()
    zones = zone_axes(operators, 3.0)
    landscape_picture(phase, zones, zones[:, 2], [("1", zones[0])])
    with within(0.1):
        again = landscape_picture(phase, zones, zones[:, 0], [("1", zones[0])])
    assert (again != landscape_picture(phase, zones, zones[:, 2], [("1", zones[0])])).any()
