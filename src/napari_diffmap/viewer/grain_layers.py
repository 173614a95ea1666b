"""Grains as napari layers: numbers, KAM, GROD, lines of twin and CSL laws, what is selected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.maps.colors import rgba
from napari_diffmap.viewer.grain_study import GrainStudy
from napari_diffmap.viewer.layer_stack import LayerStack
from napari_diffmap.viewer.map_layers import BASES as MAP_BASES
from napari_diffmap.viewer.map_layers import MapLayers
from napari_diffmap.viewer.map_pictures import warm_labels
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.sample_layers import METADATA_KEY
from napari_diffmap.viewer.views import show_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffmap.jobs.grains import GrainRun
    from napari_diffmap.maps.boundaries.twins import BoundaryLaws

Base = Literal["grains", "KAM", "GROD"]
BASES: tuple[Base, ...] = get_args(Base)
#: Names of the layers; a label map that is called "grains" has its own.
GRAINS_LAYER, LAWS_LAYER, SELECTED_LAYER = "grain numbers", "twin and CSL lines", "selected grains"
_NAMES: dict[Base, str] = {"grains": GRAINS_LAYER, "KAM": "KAM", "GROD": "GROD"}
_ORDER = (*_NAMES.values(), LAWS_LAYER, SELECTED_LAYER)
#: Values of the layer of what is selected, and their colours.
OUTLINE, INSIDE, REST = 1, 2, 3
SELECTED_COLORS = {OUTLINE: "#FFFFFF", INSIDE: "#E69F00", REST: "#000000"}
_SELECTED_NAMES = ("", "outline of a selected grain", "pole inside the region", "not selected")
#: Laws that are shown unasked: more colours are not told apart.
MOST_LAWS = 8
#: Wider than the lines of the classes, in pixels of the map.
_WIDTH = 0.5
#: The scale of KAM and GROD ends where so many percent of the pixels lie below.
_PERCENT = 99.0


class GrainLayers(LayerStack):
    """The layers of the measured grains, made when they are first wanted.

    Parameters
    ----------
    study, viewer, runner
        The grains, the main viewer, and how several layers are made one by one.
    maps
        The layers of the map: one of its pictures or one of ours is shown.

    Signals
    -------
    base_changed(base)
        One of `BASES` is shown in place of the map's pictures; None: the map's.
    """

    base_changed = Signal(object)

    def __init__(
        self, study: GrainStudy, viewer: ViewerModel, runner: Runner, maps: MapLayers
    ) -> None:
        super().__init__(study.session, viewer, _ORDER)
        self.study = study
        self.runner = runner
        self.maps = maps
        self.base: Base | None = None
        self._wanted: Base | None = None
        #: Darken what is not selected.
        self.dims = False
        #: Codes of the laws whose lines are shown.
        self.laws: frozenset[int] = frozenset()
        self._codes: NDArray[np.uint16] = np.zeros(0, dtype=np.uint16)
        self._before: str | None = None
        self._old: set[Base] = set()
        self._outline: NDArray[np.bool_] | None = None
        study.measured.connect(self._on_measured)
        study.selected.connect(self._on_selected)

    # --------------------------------------------------------------- making
    @contextmanager
    def _active_kept(self) -> Iterator[None]:
        """A new layer must not take the keys and the mouse from the one in hand."""
        viewer = self._viewer()
        active = None if viewer is None else viewer.layers.selection.active
        yield
        if viewer is not None and active is not None and active in viewer.layers:
            viewer.layers.selection.active = active

    def _insert(self, name: str, layer: Layer) -> None:
        """In their order below position and region; pictures below all lines and zones."""
        viewer = self._viewer()
        if viewer is None or name not in _NAMES.values():
            super()._insert(name, layer)
            return
        self._layers[name] = layer
        pictures = {f"map: {other}" for other in (*MAP_BASES, *_NAMES.values())}
        roles = [str(other.metadata.get(METADATA_KEY, {}).get("role")) for other in viewer.layers]
        above = [
            i
            for i, role in enumerate(roles)
            if role in ("position", "region") or (role.startswith("map: ") and role not in pictures)
        ]
        if above:  # one move only: each draws the whole list anew
            viewer.layers.move(viewer.layers.index(layer), above[0])

    def _cyclic(self, name: str, data: NDArray[np.int32]) -> None:
        """Numbers in napari's repeating colours."""
        viewer = self._viewer()
        assert viewer is not None
        layer = self._layers.get(name)
        if layer is None:
            layer = viewer.add_labels(data, opacity=1.0, visible=False, **self._common(name))
            layer.editable = False
            self._insert(name, layer)
        else:
            layer.data = data

    def _make(self, base: Base, run: GrainRun) -> None:
        self._old.discard(base)
        with self._active_kept():
            if base == "grains":
                self._cyclic(GRAINS_LAYER, run.grains.labels)
                return
            image = run.kam if base == "KAM" else run.grod
            known = image[np.isfinite(image)]
            # Of some of the pixels: all of a large map take too long here.
            known = known[:: max(1, known.size // 100_000)]
            top = float(np.percentile(known, _PERCENT)) if known.size else 1.0
            limits = (0.0, max(top, 1e-3))
            self._image(
                _NAMES[base], image, colormap="viridis", contrast_limits=limits, visible=False
            )

    # -------------------------------------------------------------- pictures
    def show_base(self, base: Base | None) -> None:
        """Show grains, KAM or GROD in place of the map's picture; None: the map's again."""
        run = self.study.run
        if run is None or self._viewer() is None:
            base = None
        self._wanted = base
        steps: list[Callable[[], None]] = []
        if base is not None and run is not None and self._lacks(base):
            steps.append(self._unless_gone(run, partial(self._make_wanted, base, run)))
        steps.append(partial(self._swap, base))
        self.runner.one_by_one(steps)

    def _make_wanted(self, base: Base, run: GrainRun) -> None:
        if self._wanted == base and self._lacks(base):
            self._make(base, run)

    def _lacks(self, base: Base) -> bool:
        """Whether there is no layer of the grains as they were measured last."""
        return base in self._old or _NAMES[base] not in self._layers

    def _swap(self, base: Base | None) -> None:
        if self._wanted != base or self._viewer() is None:
            return  # another one was chosen meanwhile
        if base is not None and _NAMES[base] not in self._layers:
            return
        if base is not None:
            if self.base is None:
                self._before = self._map_base()
            self.maps.show_base(None)
        was, self.base = self.base, base
        for other, name in _NAMES.items():
            layer = self._layers.get(name)
            if layer is not None:
                show_layer(layer, other == base)
        if base is None and was is not None and self._map_base() is None:
            self.maps.show_base(self._before)
        if base is not None:
            self._watch_map()
        if was != base:
            self.base_changed.emit(base)

    def _map_base(self) -> str | None:
        """The map's picture that is shown."""
        shown = ((name, self.maps.layer(name)) for name in MAP_BASES)
        return next((name for name, layer in shown if layer is not None and layer.visible), None)

    def _watch_map(self) -> None:
        """Who opens the eye of one of the map's pictures wants to see that."""
        for name in MAP_BASES:
            layer = self.maps.layer(name)
            if layer is not None:
                layer.events.visible.disconnect(self._on_map_eye)
                layer.events.visible.connect(self._on_map_eye)

    def _on_map_eye(self, _event: Any) -> None:
        if self.base is not None and self._map_base() is not None:
            self.show_base(None)

    # ------------------------------------------------------------------ laws
    def strongest(self) -> tuple[int, ...]:
        """Codes of the laws of the greatest length, at most `MOST_LAWS`."""
        run = self.study.run
        if run is None:
            return ()
        order = np.argsort(-run.laws.lengths, kind="stable")[:MOST_LAWS]
        return tuple(int(i) + 1 for i in order if run.laws.lengths[i] > 0)

    def show_laws(self, codes: Iterable[int]) -> None:
        """Draw the lines of some laws, and of no others."""
        self.laws = frozenset(codes)
        run, layer = self.study.run, self._layers.get(LAWS_LAYER)
        if run is None:
            return
        if layer is None:
            if self.laws:
                self._draw_laws(run)
            return
        if self.laws:
            layer.edge_color = self._law_colors(run.laws)
        show_layer(layer, bool(self.laws))

    def _draw_laws(self, run: GrainRun) -> None:
        """Make the lines beside the window, those of all laws; colour hides what is not wanted."""
        laws = run.laws

        def work(_token: object) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
            ends, codes = [np.zeros((0, 2, 2), dtype=np.float32)], [np.zeros(0, dtype=np.uint16)]
            for entry in laws.legend:
                if laws.lengths[entry.code - 1] > 0:
                    ends.append(laws.line_segments(entry.code))
                    codes.append(np.full(len(ends[-1]), entry.code, dtype=np.uint16))
            lines = np.concatenate(ends)
            return np.stack((lines[:, 0], lines[:, 1] - lines[:, 0]), axis=1), np.concatenate(codes)

        def done(result: tuple[NDArray[np.float32], NDArray[np.uint16]]) -> None:
            vectors, codes = result
            viewer = self._viewer()
            if viewer is None or self.study.run is not run or not len(vectors):
                return
            self._codes = codes
            layer = self._layers.get(LAWS_LAYER)
            if layer is not None:
                layer.data = vectors
                layer.edge_color = self._law_colors(laws)
                show_layer(layer, bool(self.laws))
                return
            with self._active_kept():
                layer = viewer.add_vectors(
                    vectors,
                    edge_color=self._law_colors(laws),
                    edge_width=_WIDTH,
                    vector_style="line",
                    length=1,
                    visible=bool(self.laws),
                    **self._common(LAWS_LAYER),
                )
                self._insert(LAWS_LAYER, layer)

        self.runner.latest("law lines", work, done)

    def _law_colors(self, laws: BoundaryLaws) -> NDArray[np.float32]:
        """``(n, 4)`` of all lines; those of other laws than `self.laws` are transparent."""
        table = np.zeros((len(laws.legend) + 1, 4), dtype=np.float32)
        for entry in laws.legend:
            if entry.code in self.laws:
                table[entry.code] = np.array(rgba(entry.color), dtype=np.float32) / 255
        return table[self._codes]

    # -------------------------------------------------------------- selected
    def set_dims(self, on: bool) -> None:
        """Darken what is not selected, or only outline what is."""
        self.dims = on
        self._on_selected(self.study.labels)

    def _on_selected(self, labels: tuple[int, ...]) -> None:
        layer = self._layers.get(SELECTED_LAYER)
        mask = self.study.mask()
        if self._viewer() is None or mask is None or not (labels or self.study.pixels is not None):
            if layer is not None:
                show_layer(layer, False)
            return
        values = selected_values(mask, self._borders(), self.study.pixels, dims=self.dims)
        if layer is None or layer.data.shape != values.shape:
            names: dict[str, list[Any]] = {
                "index": list(range(len(_SELECTED_NAMES))),
                "what": list(_SELECTED_NAMES),
            }
            with self._active_kept():
                self._labels(SELECTED_LAYER, values, SELECTED_COLORS, names, opacity=0.65)
        else:
            np.copyto(layer.data, values)
            layer.refresh(extent=False)
        show_layer(self._layers[SELECTED_LAYER], True)

    def _borders(self) -> NDArray[np.bool_]:
        """Pixels at the border of their grain; found once for each measurement."""
        run = self.study.run
        assert run is not None
        if self._outline is None or self._outline.shape != run.grains.labels.shape:
            self._outline = borders(run.grains.labels)
        return self._outline

    # -------------------------------------------------------------- measured
    def _on_measured(self, run: GrainRun | None) -> None:
        self._outline = None
        if run is None:
            self.clear()
            return
        shape = run.grains.labels.shape
        others = [
            n for n, layer in self._layers.items() if layer.ndim != 2 or not _fits(layer, shape)
        ]
        steps: list[Callable[[], None]] = [
            partial(self._remove, self._layers.pop(name)) for name in others
        ]
        # Those that nobody sees wait until somebody does.
        self._old = {base for base in BASES if _NAMES[base] in self._layers}
        if self.base is not None and self.base in self._old:
            steps.append(partial(self._make, self.base, run))
        if LAWS_LAYER in self._layers or self.laws:
            steps.append(partial(self._draw_laws, run))
        self.runner.one_by_one([self._unless_gone(run, step) for step in steps])
        self.runner.latest("label colours", lambda _token: warm_labels(), lambda _: None)

    def _unless_gone(self, run: GrainRun, step: Callable[[], None]) -> Callable[[], None]:
        def act() -> None:
            if self.study.run is run and self._viewer() is not None:
                step()

        return act

    def clear(self) -> None:
        """Remove all layers, one by one."""
        layers = list(self._layers.values())
        self._layers.clear()
        self.laws = frozenset()
        was, self.base = self.base, None
        self._wanted = None
        for layer in layers:
            show_layer(layer, False)
        self._leaving += layers
        self.runner.one_by_one([partial(self._remove, layer) for layer in layers])
        if was is not None:
            if self.session.map is not None:
                self.maps.show_base(self._before)
            self.base_changed.emit(None)


def _fits(layer: Layer, shape: tuple[int, ...]) -> bool:
    return layer.name == LAWS_LAYER or tuple(layer.data.shape[:2]) == tuple(shape)


def borders(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels of which a neighbour (four of them) has another number."""
    out = np.zeros(labels.shape, dtype=bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    out[:, 1:] |= across
    out[:, :-1] |= across
    out[1:] |= down
    out[:-1] |= down
    return out


def selected_values(
    mask: NDArray[np.bool_],
    border: NDArray[np.bool_],
    pixels: NDArray[np.bool_] | None,
    *,
    dims: bool,
) -> NDArray[np.uint8]:
    """What the layer of selected grains holds.

    Parameters
    ----------
    mask, border
        ``(Y, X)``: pixels of selected grains, pixels at the border of a grain.
    pixels
        ``(Y, X)``: pixels in a region of a pole figure, if one is drawn.
    dims
        Mark what is not selected.

    Returns
    -------
    ndarray
        ``(Y, X)`` uint8: 0, `OUTLINE`, `INSIDE` or `REST`.
    """
    values = np.zeros(mask.shape, dtype=np.uint8)
    if dims:
        values[~mask] = REST
    if pixels is not None:
        values[pixels & ~mask] = INSIDE
    values[mask & border] = OUTLINE
    return values
