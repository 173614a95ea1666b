"""A spectral map in layers, its doubt queue and its corrections, without a window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import SpectralDoubt, SpectralMap
from napari_diffmap.maps.boundaries.twin_laws import csl_laws
from napari_diffmap.maps.edits.edit import EDITED, EditKind
from napari_diffmap.viewer.correcting import SCOPES, Correcting
from napari_diffmap.viewer.doubt_queue import DoubtQueue
from napari_diffmap.viewer.grain_study import GrainStudy
from napari_diffmap.viewer.label_layers import LabelLayers
from napari_diffmap.viewer.labelling import Labelling
from napari_diffmap.viewer.map_edits import MapEdits
from napari_diffmap.viewer.map_layers import MapLayers
from napari_diffmap.viewer.phase_painting import PhasePainting
from napari_diffmap.viewer.runner import ImmediateRunner
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.shown_map import ShownMap
from napari_diffmap.viewer.small_map_layers import EDITED_LAYER
from napari_diffmap.viewer.spectral_answers import answers_text, spectral_answers
from napari_diffmap.viewer.spectral_layers import DOUBT_LAYER, SpectralLayers


class Desk:
    """Session, controllers and layers of both kinds on a bare viewer model."""

    def __init__(self) -> None:
        self.viewer = ViewerModel()
        self.session, self.runner = Session(), ImmediateRunner()
        orientations = MapLayers(self.session, self.viewer, self.runner)
        self.spectra = SpectralLayers(self.session, self.viewer, self.runner)
        self.maps = ShownMap(self.session, orientations, self.spectra)
        self.edits = MapEdits(self.session, self.maps)
        self.queue = DoubtQueue(self.session, self.runner)
        self.correcting = Correcting(self.session, self.runner)
        self.painting = PhasePainting(self.session, self.maps, self.correcting)
        self.said: list[str] = []
        self.session.message.connect(self.said.append)

    def show(self, found: Any) -> Any:
        """The map that is corrected; the session has no scan, so it looks at any position."""
        self.session.set_map(found)
        return self.session.map

    def at(self, y: int, x: int) -> None:
        self.session.position = (y, x)

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """As large as the maps made up here, where no scan says it."""
    monkeypatch.setattr(Session, "grid", property(lambda _self: (12, 15)))


pytestmark = pytest.mark.usefixtures("grid")


def test_a_spectral_map_is_ordinary_layers(desk: Desk, make_spectral: Any) -> None:
    found = desk.show(make_spectral())
    assert desk.names == [
        *("score", "reliability", "fraction Na3", "fraction Na2", "fraction Na1"),
        *("composition", "phases", "doubt"),
    ]
    seen = {layer.name for layer in desk.viewer.layers if layer.visible}
    assert seen == {"phases"}
    phases = desk.maps.layer("phases")
    np.testing.assert_array_equal(phases.data, found.best_phase_ids + 1)
    assert phases.features["phase"].tolist() == ["", "Na1", "Na2", "Na3"]
    assert phases.colormap.color_dict[1] == pytest.approx([0, 0x72 / 255, 0xB2 / 255, 1])
    doubt = desk.maps.layer(DOUBT_LAYER)
    assert "false assignment" in doubt.features["cause"].tolist()
    np.testing.assert_array_equal(doubt.data > 0, found.ambiguous)
    assert desk.maps.layer("composition").contrast_limits == [1, 3]
    assert desk.viewer.layers.selection.active == phases


def test_without_compositions_there_is_no_such_layer(desk: Desk, make_spectral: Any) -> None:
    desk.show(make_spectral(compositions=False))
    assert "composition" not in desk.names
    assert desk.maps.bases == (
        *("phases", "fraction Na1", "fraction Na2", "fraction Na3"),
        *("score", "reliability"),
    )


def test_one_picture_at_a_time_and_doubt_over_it(desk: Desk, make_spectral: Any) -> None:
    desk.show(make_spectral())
    desk.maps.show_base("fraction Na2")
    desk.maps.show_overlay("ambiguity", True)
    desk.maps.show_overlay("boundaries", True)
    seen = {layer.name for layer in desk.viewer.layers if layer.visible}
    assert seen == {"fraction Na2", "doubt"}
    desk.viewer.layers.remove("composition")
    desk.maps.show_base("composition")
    assert desk.maps.layer("composition").visible


def test_the_next_map_has_other_references(desk: Desk, make_spectral: Any) -> None:
    desk.show(make_spectral())
    first = desk.maps.layer("phases")
    desk.show(make_spectral(count=2, compositions=False))
    assert desk.maps.layer("phases") is first
    assert set(desk.names) == {
        *("score", "reliability", "fraction Na1", "fraction Na2", "phases", "doubt"),
    }
    desk.show(make_spectral(count=4))
    assert desk.names.index("fraction Na4") < desk.names.index("fraction Na1")


def test_each_kind_of_map_shows_its_own_layers_only(
    desk: Desk, make_spectral: Any, flat_map: Callable[..., Any]
) -> None:
    told: list[str] = []
    desk.maps.shown.connect(lambda: told.append(desk.maps.first))
    desk.show(make_spectral())
    desk.show(flat_map((12, 15)))
    assert "IPF-Z" in desk.names
    assert not {"doubt", "composition", "fraction Na1"} & set(desk.names)
    desk.show(make_spectral())
    assert "doubt" in desk.names
    assert not {"IPF-Z", "ambiguity", "high-angle boundaries"} & set(desk.names)
    assert len(desk.names) == len(set(desk.names))
    desk.session.set_map(None)
    assert desk.names == []
    assert told == ["phases", "IPF-Z", "phases"]


def in_layers(desk: Desk, found: SpectralMap) -> None:
    """The layers show the corrected map."""
    np.testing.assert_array_equal(desk.maps.layer("phases").data, found.best_phase_ids + 1)
    np.testing.assert_array_equal(desk.maps.layer(DOUBT_LAYER).data > 0, found.ambiguous)
    shown = desk.maps.layer("score").data
    np.testing.assert_array_equal(shown, np.where(found.indexed, found.best_scores, np.nan))
    np.testing.assert_array_equal(desk.maps.layer("reliability").data, found.reliability)


def test_another_answer_is_accepted_and_taken_back(desk: Desk, make_spectral: Any) -> None:
    answer = make_spectral()
    found = desk.show(answer)
    desk.at(2, 2)
    desk.correcting.accept(1)
    second, score = answer.phase_ids[2, 2, 1], answer.scores[2, 2, 1]
    assert found.phase_ids[2, 2, 0] == second
    assert found.scores[2, 2, 0] == score
    assert found.extra[EDITED][2, 2] == EditKind.ACCEPTED
    assert not found.ambiguous[2, 2]
    in_layers(desk, found)
    desk.correcting.undo()
    np.testing.assert_array_equal(found.phase_ids, answer.phase_ids)
    in_layers(desk, found)
    desk.correcting.redo()
    assert found.phase_ids[2, 2, 0] == second


def test_a_phase_that_was_not_kept_is_set_without_a_score(desk: Desk, make_spectral: Any) -> None:
    found = desk.show(make_spectral(count=4))
    missing = int(next(i for i in range(4) if i not in found.phase_ids[5, 5]))
    desk.at(5, 5)
    desk.correcting.set_phase(missing)
    assert found.phase_ids[5, 5, 0] == missing
    assert np.isnan(found.scores[5, 5, 0])
    assert desk.said == []


def test_scopes_reach_regions_zones_and_the_same_confusion(desk: Desk, make_spectral: Any) -> None:
    found = desk.show(make_spectral())
    desk.at(4, 2)
    desk.correcting.scope = "grain"
    assert desk.correcting.pixels().tolist() == [y * 15 + x for y in range(1, 11) for x in range(5)]
    desk.at(2, 2)
    desk.correcting.scope = "zone"
    assert len(desk.correcting.pixels()) == 6
    desk.correcting.scope = "same confusion"
    pixels = desk.correcting.pixels()
    assert (found.ambiguity.flat[pixels] == SpectralDoubt.AMBIGUITY).all()
    desk.correcting.accept(1)
    assert (found.extra[EDITED].flat[pixels] == EditKind.ACCEPTED).all()
    for scope in SCOPES:
        desk.correcting.scope = scope
        if scope != "region":
            assert len(desk.correcting.pixels())


def test_what_turns_crystals_is_refused_in_one_line(desk: Desk, make_spectral: Any) -> None:
    found = desk.show(make_spectral())
    assert not desk.correcting.turns
    law = csl_laws()[0]
    for act in (desk.correcting.turn, desk.correcting.refine, lambda: desk.correcting.twin(law)):
        with pytest.raises(BadInputError, match="no orientation to turn or refine"):
            act()
    assert not found.extra[EDITED].any()


def test_the_same_two_phases_elsewhere_are_offered(desk: Desk, make_spectral: Any) -> None:
    doubt = np.zeros((12, 15), np.uint8)
    doubt[1:-1] = SpectralDoubt.AMBIGUITY
    answer = make_spectral(count=2, ambiguity=doubt)
    found = desk.show(answer)
    desk.at(4, 2)
    desk.correcting.accept(1)
    offer = desk.correcting.offer
    assert offer is not None
    assert offer.rotation is None
    assert (answer.best_phase_ids.flat[offer.pixels] == 0).all()
    desk.correcting.accept_offer()
    assert (found.best_phase_ids.flat[offer.pixels] == 1).all()


def test_painted_phases_become_corrections(desk: Desk, make_spectral: Any) -> None:
    found = desk.show(make_spectral())
    desk.at(4, 2)
    desk.painting.set(True)
    layer: Any = desk.maps.layer("phases")
    desk.painting.choose(2)
    layer.brush_size = 1
    with layer.block_history():
        layer.paint((4, 3), 3)
    assert found.phase_ids[4, 3, 0] == 2
    assert found.extra[EDITED][4, 3] == EditKind.PAINTED
    with layer.block_history():
        layer.paint((6, 3), 0)
    assert found.phase_ids[6, 3, 0] == -1
    assert found.extra[EDITED][6, 3] == EditKind.INVALID
    desk.correcting.undo()
    assert layer.data[6, 3] == 1


def test_the_queue_goes_by_causes_of_the_map(
    desk: Desk, make_spectral: Any, flat_map: Callable[..., Any]
) -> None:
    found = desk.show(make_spectral())
    assert {zone.name for zone in desk.queue.zones} == {cause.name for cause in found.doubts}
    desk.queue.filter(causes=(SpectralDoubt.TRANSITION,))
    assert {zone.name for zone in desk.queue.zones} == {"transition"}
    zone = desk.queue.next()
    assert zone is not None
    assert found.ambiguity[zone.center] == SpectralDoubt.TRANSITION
    desk.at(*zone.center)
    desk.correcting.scope = "zone"
    desk.correcting.empty(EditKind.UNKNOWN)
    assert desk.queue.left == desk.queue.first - zone.size
    assert "settled" in desk.queue.line()
    desk.show(flat_map((12, 15)))
    assert desk.queue.causes is None


def test_where_it_was_corrected_is_a_layer(desk: Desk, make_spectral: Any) -> None:
    answer = make_spectral()
    desk.show(answer)
    desk.at(4, 2)
    desk.correcting.empty(EditKind.INVALID)
    desk.maps.show_edited(True)
    layer = desk.maps.layer(EDITED_LAYER)
    assert layer.data[4, 2] == EditKind.INVALID
    desk.maps.show_answer(True)
    np.testing.assert_array_equal(desk.maps.layer("phases").data, answer.best_phase_ids + 1)


_ACTS = st.lists(
    st.tuples(
        st.sampled_from(["accept", "phase", "paint", "empty", "undo", "redo"]),
        st.sampled_from(["pixel", "disk", "grain", "zone", "same confusion"]),
        st.integers(1, 10),
        st.integers(0, 14),
        st.integers(0, 2),
    ),
    max_size=8,
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(acts=_ACTS)
def test_layers_follow_whatever_is_corrected_and_undone(make_spectral: Any, acts: Any) -> None:
    desk, answer = Desk(), make_spectral()
    found = desk.show(answer)
    c = desk.correcting
    for act, scope, y, x, number in acts:
        desk.at(y, x)
        c.scope = scope
        if act == "accept" and found.phase_ids[y, x, number] >= 0:
            c.accept(number)
        elif act == "phase":
            c.set_phase(number)
        elif act == "paint":
            c.paint(c.pixels(), number - 1)
        elif act == "empty":
            c.empty(EditKind.UNKNOWN)
        elif act in ("undo", "redo"):
            getattr(c, act)()
    in_layers(desk, found)
    while desk.session.corrections.done:
        c.undo()
    for name in SpectralMap.arrays:
        np.testing.assert_array_equal(getattr(found, name), getattr(answer, name))
    in_layers(desk, found)


def test_answers_are_worded_with_correlation_and_share(make_spectral: Any) -> None:
    spread = np.full((12, 15), 0.05)
    found = make_spectral(extra={"composition_error": spread})
    first, *others = spectral_answers(found, 2, 2)
    assert first.phase == "Na1"
    assert first.score == found.scores[2, 2, 0]
    assert first.fraction == found.fractions[2, 2, 0]
    assert len(others) == 2
    text = answers_text(found, 2, 2)
    assert f"r {first.score:.4f}" in text
    assert "± 2 %" in text
    assert "in doubt: ambiguity" in text
    assert f"composition {found.composition[2, 2]:.2f} ± 0.05" in text
    nothing = answers_text(found, 0, 0)
    assert "no spectrum was recorded here" in nothing
    assert "composition" not in nothing


def test_there_are_no_grains_and_it_says_so(desk: Desk, make_spectral: Any) -> None:
    study = GrainStudy(desk.session, desk.runner)
    desk.show(make_spectral())
    assert "it has no grains" in study.line()
    with pytest.raises(BadInputError, match="no orientations"):
        study.measure()


def test_label_maps_of_phases_and_thresholds(desk: Desk, make_spectral: Any) -> None:
    layers = LabelLayers(desk.session, desk.viewer)
    labelling = Labelling(desk.session, layers, desk.runner)
    found = desk.show(make_spectral())
    labelling.add_phases("by phase")
    assert labelling.table is not None
    assert labelling.table.names == ("Na1", "Na2", "Na3")
    labelling.add_threshold("sure", quantity="reliability", value=0.9)
    corrections = desk.session.corrections
    assert corrections is not None
    with np.errstate(invalid="ignore"):
        sure = found.reliability >= np.float32(0.9)
    np.testing.assert_array_equal(corrections.labels["sure"].base > 0, sure)
    labelling.add_grains("grains")
    assert "needs orientations" in desk.said[-1]
    labelling.select("by phase")
    labelling.choose([1])
    labelling.propose("split", 5.0)
    assert "needs orientations" in desk.said[-1]
