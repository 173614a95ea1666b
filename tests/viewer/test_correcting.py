"""Corrections of a mapped scan without a window."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.crystal.simulate import Spots, render, spots
from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import Ambiguity, OrientationMap
from napari_diffmap.maps.boundaries.twin_laws import csl_laws, distinct_turns
from napari_diffmap.maps.edits.edit import EDITED, EditKind
from napari_diffmap.maps.quaternions import HALF_TURN, disorientation, multiply
from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.correcting import Correcting
from napari_diffmap.viewer.doubt_queue import DoubtQueue
from napari_diffmap.viewer.map_edits import MapEdits
from napari_diffmap.viewer.map_layers import AMBIGUITY_LAYER, EDITED_LAYER, MapLayers
from napari_diffmap.viewer.runner import ImmediateRunner
from napari_diffmap.viewer.session import Session

PIXEL, CENTER, SHAPE = 0.0225, (47.5, 47.5), (96, 96)
#: Two grains side by side; the right one is mapped as the left one's twin in some pixels.
GRID = (6, 10)


def grains() -> NDArray[np.float64]:
    q = np.random.default_rng(11).normal(size=(2, 4))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def patterns() -> Scan:
    """Gold in two orientations, six columns and four."""
    phase = load_phases(["Au"])[0]
    found = spots(reflections(phase, 1.1), grains(), 200.0, 0.012)
    level = found.intensity.sqrt()
    level = 4000 * level / level.sum(dim=1, keepdim=True)
    images = render(
        Spots(found.kx, found.ky, found.excitation, level), SHAPE, CENTER, PIXEL, 0.95, cutoff=2e-3
    ).numpy()
    grain = (np.arange(GRID[1]) >= 6).astype(int)
    y, x = np.indices(SHAPE)
    beam = 3000 * np.exp(-0.4 * ((y - CENTER[0]) ** 2 + (x - CENTER[1]) ** 2))
    counts = np.random.default_rng(0).poisson(images[grain][None].repeat(GRID[0], 0) + beam + 0.05)
    axes = (
        Axis("y", GRID[0], 2.0, 0.0, "nm"),
        Axis("x", GRID[1], 2.0, 0.0, "nm"),
        Axis("ky", SHAPE[0]),
        Axis("kx", SHAPE[1]),
    )
    calibration = Calibration(CENTER, PIXEL, 200.0)
    data = da.from_array(counts.astype(np.uint16), chunks=(2, -1, -1, -1))
    return Scan(data, axes, "4D-STEM", "gold", calibration=calibration)


@pytest.fixture(scope="module")
def matcher(patterns: Scan) -> OrientationMethod:
    method = OrientationMethod(OrientationParameters(zone_step_deg=3.0), load_phases(["Au"]))
    method.prepare(patterns)
    return method


def wrong_map(*, kept: bool = True) -> OrientationMap:
    """First answers: the truth, but in columns 6 and 7 the orientation turned by 180°.

    The second answer is the other of the two where `kept`, else far from both.
    """
    truth = grains()
    grain = (np.arange(GRID[1]) >= 6).astype(int)[None].repeat(GRID[0], 0)
    right, twin = truth[grain], multiply(truth, HALF_TURN)[grain]
    wrong = np.zeros(GRID, dtype=bool)
    wrong[:, 6:8] = True
    far = np.random.default_rng(1).normal(size=(*GRID, 4))
    far /= np.linalg.norm(far, axis=-1, keepdims=True)
    first = np.where(wrong[..., None], twin, right)
    second = np.where(wrong[..., None], right, twin) if kept else far
    rotations = np.stack((first, second, far[::-1]), axis=2)
    return OrientationMap(
        rotations=rotations,
        scores=np.tile([0.9, 0.8, 0.3], (*GRID, 1)),
        phase_ids=np.zeros((*GRID, 3)),
        reliability=np.where(wrong, 0.5, 0.95),
        ambiguity=np.where(wrong, Ambiguity.TWIN, Ambiguity.NONE),
        phases=load_phases(["Au"]),
        step=(2.0, 2.0),
        step_unit="nm",
    )


class Desk:
    """Session, controller and layers on a bare viewer model."""

    def __init__(self, scan: Scan, found: OrientationMap, matcher: Any = None) -> None:
        self.viewer = ViewerModel()
        self.session, runner = Session(), ImmediateRunner()
        self.maps = MapLayers(self.session, self.viewer, runner)
        self.edits = MapEdits(self.session, self.maps)
        self.queue = DoubtQueue(self.session, runner)
        self.correcting = Correcting(self.session, runner, lambda: matcher)
        self.said: list[str] = []
        self.session.message.connect(self.said.append)
        self.session.set_scan(scan)
        self.session.set_map(found)

    @property
    def map(self) -> OrientationMap:
        assert self.session.map is not None
        return self.session.map

    def off(self) -> NDArray[np.float32]:
        """Disorientation of the first answers from the truth, degrees."""
        grain = (np.arange(GRID[1]) >= 6).astype(int)[None].repeat(GRID[0], 0)
        truth = grains()[grain].reshape(-1, 4)
        first = self.map.best_rotations.reshape(-1, 4)
        return disorientation(first, truth, self.map.phases[0].symmetry).reshape(GRID)  # type: ignore[attr-defined]


@pytest.fixture
def desk(patterns: Scan, matcher: OrientationMethod) -> Desk:
    return Desk(patterns, wrong_map(), matcher)


def test_the_second_answer_of_a_pixel(desk: Desk) -> None:
    desk.session.set_position(2, 6)
    before = desk.off()
    desk.correcting.accept(1)
    after = desk.off()
    assert before[2, 6] > 5 > 0.1 > after[2, 6]
    after[2, 6] = before[2, 6]
    np.testing.assert_array_equal(after, before)
    assert not desk.map.ambiguous[2, 6]


@pytest.mark.parametrize("scope", ["grain", "zone", "same confusion"])
def test_a_whole_grain_takes_what_is_accepted(desk: Desk, scope: Any) -> None:
    desk.session.set_position(2, 6)
    desk.correcting.scope = scope
    assert len(desk.correcting.pixels()) == 12
    desk.correcting.accept(1)
    assert desk.off().max() < 0.1
    assert len(desk.session.corrections.done) == 1  # type: ignore[union-attr]
    assert desk.queue.zones == ()
    desk.correcting.undo()
    assert desk.off()[:, 6:8].min() > 5
    assert len(desk.queue.zones) == 1
    desk.correcting.redo()
    assert desk.off().max() < 0.1


def test_a_zone_over_two_grains_is_corrected_in_one_of_them(
    patterns: Scan, matcher: OrientationMethod
) -> None:
    found = wrong_map()
    cause = found.ambiguity.copy()
    cause[:, 2:8] = Ambiguity.TWIN  # over the left grain too, which is right
    desk = Desk(patterns, found.replaced(ambiguity=cause), matcher)
    desk.session.set_position(2, 6)
    desk.correcting.scope = "zone"
    assert len(desk.correcting.pixels()) == 36
    desk.correcting.accept(1)
    assert desk.off().max() < 0.1
    assert int((desk.map.extra[EDITED] > 0).sum()) == 12


def test_a_disk_and_a_region(desk: Desk) -> None:
    desk.session.set_position(2, 6)
    desk.correcting.scope, desk.correcting.radius = "disk", 1.0
    assert len(desk.correcting.pixels()) == 5
    desk.correcting.scope = "region"
    with pytest.raises(BadInputError, match="draw a region"):
        desk.correcting.pixels()
    region = np.zeros(GRID, dtype=bool)
    region[1:3, 6:8] = True
    desk.session.set_region(region)
    desk.correcting.accept(1)
    assert desk.off()[1:3].max() < 0.1
    assert desk.off()[3:, 6:8].min() > 5


def test_what_the_matcher_had_not_kept_is_refined_on_the_pattern(
    patterns: Scan, matcher: OrientationMethod
) -> None:
    """One pixel is turned; the grain then takes its orientation and refines it."""
    desk = Desk(patterns, wrong_map(kept=False), matcher)
    desk.session.set_position(2, 6)
    desk.correcting.turn()
    assert desk.off()[2, 6] < 0.6
    assert desk.map.extra[EDITED][2, 6] == EditKind.TURNED
    assert desk.map.scores[2, 6, 0] > 0.3
    region = np.zeros(GRID, dtype=bool)
    region[:, 6:8] = True
    desk.session.set_position(2, 6)
    desk.session.region = region
    desk.correcting.scope = "region"
    desk.correcting.accept(0)
    assert desk.off().max() < 0.6
    assert np.isfinite(desk.map.scores[:, 6:8, 0]).all()


def test_without_a_matcher_it_says_so_and_keeps_the_start(patterns: Scan) -> None:
    found = wrong_map(kept=False)
    plain = found.replaced(phases=tuple(_bare(phase) for phase in found.phases))
    desk = Desk(patterns, plain)
    desk.session.set_position(2, 6)
    desk.correcting.turn()
    assert "not refined" in desk.said[-1]
    assert desk.map.extra[EDITED][2, 6] == EditKind.TURNED
    assert np.isnan(desk.map.scores[2, 6, 0])
    desk.correcting.refine()
    assert "add the phases" in desk.said[-1]
    assert len(desk.session.corrections.done) == 1  # type: ignore[union-attr]


def _bare(phase: Any) -> Any:
    from napari_diffmap.maps import MapPhase

    return MapPhase(phase.name, phase.color, phase.orix)


def test_a_correction_offers_the_same_elsewhere(desk: Desk) -> None:
    desk.session.set_position(2, 6)
    desk.correcting.accept(1)
    assert desk.correcting.offer is not None
    assert len(desk.correcting.offer.pixels) == 11
    desk.correcting.refuse_offer()
    assert desk.correcting.offer is None
    desk.session.set_position(3, 6)
    desk.correcting.accept(1)
    desk.correcting.accept_offer()
    assert desk.off().max() < 0.1
    assert desk.correcting.offer is None


def test_invalid_and_unknown_take_the_answer_away(desk: Desk) -> None:
    desk.session.set_position(2, 6)
    desk.correcting.empty(EditKind.INVALID)
    desk.session.set_position(2, 7)
    desk.correcting.empty(EditKind.UNKNOWN)
    assert desk.map.phase_ids[2, 6:8, 0].tolist() == [-1, -1]
    assert desk.map.extra[EDITED][2, 6:8].tolist() == [EditKind.INVALID, EditKind.UNKNOWN]
    with pytest.raises(BadInputError, match="no answer 1"):
        desk.correcting.accept(0)
    desk.correcting.turn()
    assert "no answer here" in desk.said[-1]


def test_a_twin_law_finds_its_variant(patterns: Scan, matcher: OrientationMethod) -> None:
    """The right grain mapped as a Σ3 twin of the truth comes back, whichever variant it was."""
    law = csl_laws(3)[0]
    found = wrong_map()
    truth = grains()[(np.arange(GRID[1]) >= 6).astype(int)][None].repeat(GRID[0], 0)
    turns = distinct_turns(law, found.phases[0])
    assert len(turns) == 4
    wrong = found.rotations.copy()
    wrong[:, 6:, 0] = multiply(turns[2], truth[:, 6:])
    desk = Desk(patterns, found.replaced(rotations=wrong), matcher)
    assert desk.off()[:, 6:].min() > 30
    desk.session.set_position(3, 8)
    desk.correcting.scope = "grain"
    assert len(desk.correcting.pixels()) == 24
    desk.correcting.twin(law)
    assert desk.off().max() < 0.6
    assert "Σ3" in desk.session.corrections.done[0].note  # type: ignore[union-attr]


def test_a_phase_is_matched_where_it_was_not_kept(
    patterns: Scan, matcher: OrientationMethod
) -> None:
    found = wrong_map()
    lost = found.phase_ids.copy()
    lost[1, 2:5] = -1
    desk = Desk(patterns, found.replaced(phase_ids=lost), matcher)
    desk.correcting.paint(np.array([12, 13, 14]), 0)
    assert desk.off()[1, 2:5].max() < 0.6
    assert desk.map.extra[EDITED][1, 2:5].tolist() == [EditKind.PAINTED] * 3
    desk.correcting.paint(np.array([13]), -1)
    assert not desk.map.indexed[1, 3]


def test_no_map_no_correction(patterns: Scan) -> None:
    desk = Desk(patterns, wrong_map())
    desk.session.set_map(None)
    assert "Map the scan" in desk.correcting.missing()
    with pytest.raises(BadInputError):
        desk.correcting.accept(0)
    desk.correcting.undo()


# ------------------------------------------------------------------- layers
def test_the_layers_follow_each_edit(desk: Desk) -> None:
    maps, found = desk.maps, desk.map
    maps.show_edited(True)
    from napari_diffmap.maps.colors import ipf_colors

    desk.session.set_position(2, 6)
    for act in (
        lambda: desk.correcting.accept(1),
        lambda: desk.correcting.empty(EditKind.INVALID),
        desk.correcting.undo,
    ):
        act()
        for direction in "xyz":
            layer = maps.layer(f"IPF-{direction.upper()}")
            assert layer is not None
            np.testing.assert_array_equal(layer.data, ipf_colors(found, direction))
        shown = {name: maps.layer(name).data for name in ("phases", AMBIGUITY_LAYER, EDITED_LAYER)}  # type: ignore[union-attr]
        np.testing.assert_array_equal(shown["phases"], found.best_phase_ids + 1)
        np.testing.assert_array_equal(shown[AMBIGUITY_LAYER] > 0, found.ambiguous)
        np.testing.assert_array_equal(shown[EDITED_LAYER], found.extra[EDITED])


def test_the_answer_can_be_looked_at_beside_the_corrections(desk: Desk) -> None:
    layer = desk.maps.layer("IPF-X")
    assert layer is not None
    before = layer.data.copy()
    desk.correcting.scope = "zone"
    desk.session.set_position(2, 6)
    # Half a turn about the beam shows in no IPF colour: Friedel's law.
    desk.correcting.empty(EditKind.INVALID)
    after = layer.data.copy()
    assert (before != after).any()
    desk.maps.show_answer(True)
    np.testing.assert_array_equal(layer.data, before)
    desk.maps.show_answer(False)
    np.testing.assert_array_equal(layer.data, after)


# -------------------------------------------------------------------- queue
def test_the_queue_goes_by_weight_and_comes_round(patterns: Scan) -> None:
    found = wrong_map()
    cause = np.zeros(GRID, np.uint8)
    cause[0, 0], cause[2:4, 2:4], cause[5, 7:10] = 4, 1, 5
    desk = Desk(patterns, found.replaced(ambiguity=cause, reliability=np.full(GRID, 0.5)))
    sizes = []
    for _ in range(4):
        zone = desk.queue.next()
        assert zone is not None
        assert desk.session.position == zone.center
        sizes.append(zone.size)
    assert sizes == [4, 3, 1, 4]
    assert desk.queue.line().startswith("zone 1 of 3 zones left · 8 pixels in doubt")
    before = desk.session.position
    desk.queue.next()
    desk.queue.back()
    assert desk.session.position == before
    desk.queue.go(0)
    desk.correcting.scope = "zone"
    desk.correcting.accept(0)
    assert desk.queue.place is None
    assert [zone.size for zone in desk.queue.zones] == [3, 1]
    assert desk.queue.next().size == 1  # type: ignore[union-attr]
    assert "4 settled" in desk.queue.line()


def test_what_is_left_of_a_visited_zone_waits_for_the_others(patterns: Scan) -> None:
    found = wrong_map()
    cause = np.zeros(GRID, np.uint8)
    cause[1:4, 1:5], cause[5, 7:10] = 1, 5
    desk = Desk(patterns, found.replaced(ambiguity=cause, reliability=np.full(GRID, 0.5)))
    assert desk.queue.next().size == 12  # type: ignore[union-attr]
    desk.correcting.empty(EditKind.UNKNOWN)
    assert max(zone.size for zone in desk.queue.zones) >= 8
    assert desk.queue.next().size == 3  # type: ignore[union-attr]
    assert desk.queue.next().size >= 8  # type: ignore[union-attr]


def test_the_queue_can_be_narrowed(patterns: Scan) -> None:
    found = wrong_map()
    cause = np.zeros(GRID, np.uint8)
    cause[0, 0], cause[2:4, 2:4], cause[5, 7:10] = 4, 1, 5
    desk = Desk(patterns, found.replaced(ambiguity=cause))
    desk.queue.filter(min_size=2)
    assert sorted(zone.size for zone in desk.queue.zones) == [3, 4]
    desk.queue.filter(causes=(Ambiguity.TOO_FEW_SPOTS,))
    assert [zone.size for zone in desk.queue.zones] == [1]
    desk.queue.filter(phase=3)
    assert desk.queue.zones == ()
    assert desk.queue.next() is None
