"""Corrections by hand: twenty guided by the queue beside as many at random; how long edits take.

``python -m benchmarks.corrections [MAP.h5]``: MAP is a map of the bundled sample (that of
``napari-diffmap demo``), else it is made first.  Who corrects knows the truth: of the answers
kept at a position the right one is accepted, for the whole zone of doubt; where none is right
the position is marked unknown.  Everything goes through the controllers of the window.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.crystal.sample import SampleTruth, sample_scan
from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.orient import calibrated, make_method, map_orientations
from napari_diffmap.maps import OrientationMap
from napari_diffmap.maps.edits.edit import EditKind
from napari_diffmap.maps.files.export import load_orientation_h5
from napari_diffmap.maps.quaternions import disorientation, laue_operators
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.correcting import Correcting
from napari_diffmap.viewer.doubt_queue import DoubtQueue
from napari_diffmap.viewer.runner import ImmediateRunner
from napari_diffmap.viewer.session import Session

COUNT, RIGHT_DEG, DRAWS = 20, 3.0, 20
ROUNDS, SIZE, GRAINS = 30, 1024, 400


def right_answers(found: OrientationMap, truth: SampleTruth) -> NDArray[np.bool_]:
    """Which of the kept answers are right, ``(Y, X, n_best)``."""
    right = np.zeros(found.phase_ids.shape, dtype=bool)
    for i, phase in enumerate(found.phases):
        for rank in range(found.n_best):
            here = (found.phase_ids[..., rank] == i) & (truth.phase_ids == i)
            angle = disorientation(
                found.rotations[here][:, rank], truth.rotations[here], laue_operators(phase)
            )
            right[here, rank] = angle <= RIGHT_DEG
    return right


class _Expert:
    """Someone who knows the truth at the position that is looked at."""

    def __init__(self, scan: Any, found: OrientationMap, truth: SampleTruth) -> None:
        self.session, runner = Session(), ImmediateRunner()
        self.queue = DoubtQueue(self.session, runner)
        self.correcting = Correcting(self.session, runner)
        self.correcting.refining = False
        self.correcting.scope = "zone"
        self.truth = truth
        self.session.set_scan(scan)
        self.session.set_map(found)

    @property
    def map(self) -> OrientationMap:
        assert self.session.map is not None
        return self.session.map

    def correct(self) -> None:
        """One correction here; what it offers elsewhere is taken if it is right where one looks."""
        y, x = self.session.position
        right = right_answers(self._pixel(y, x), self._truth(y, x))[0, 0]
        try:
            if right.any():
                self.correcting.accept(int(right.argmax()))
            else:
                # Without a crystal there is nothing to find in the whole zone.
                nothing = self.truth.phase_ids[y, x] < 0 or self.truth.bad[y, x]
                self.correcting.scope = "zone" if nothing else "pixel"
                self.correcting.empty(EditKind.UNKNOWN)
        except BadInputError:
            pass  # nothing was found here at all
        self.correcting.scope = "zone"
        self._answer_offer()

    def _answer_offer(self) -> None:
        offer = self.correcting.offer
        if offer is None:
            return
        y, x = divmod(int(offer.pixels[len(offer.pixels) // 2]), self.session.grid[1])
        phase = self.map.phases[offer.phase]
        same = int(self.truth.phase_ids[y, x]) == offer.phase
        angle = disorientation(
            offer.rotation[None], self.truth.rotations[y, x][None], laue_operators(phase)
        )
        if same and angle[0] <= RIGHT_DEG + 2:
            self.correcting.accept_offer()
        else:
            self.correcting.refuse_offer()

    def _pixel(self, y: int, x: int) -> OrientationMap:
        from napari_diffmap.maps.edits.edit import part_of

        return part_of(self.map, np.array([y * self.map.shape[1] + x]))

    def _truth(self, y: int, x: int) -> SampleTruth:
        fields = {
            name: getattr(self.truth, name)[y : y + 1, x : x + 1]
            for name in type(self.truth).__dataclass_fields__
            if name != "phases"
        }
        return replace(self.truth, **fields)

    def share(self) -> float:
        """Right pixels among those with one crystal."""
        return float(right_answers(self.map, self.truth)[..., 0][self.truth.single].mean())


def guided(found: OrientationMap, scan: Any, truth: SampleTruth) -> list[float]:
    """Share of right pixels before and after each correction along the queue."""
    expert = _Expert(scan, found, truth)
    shares = [expert.share()]
    for _ in range(COUNT):
        if expert.queue.next() is None:
            break
        expert.correct()
        shares.append(expert.share())
    return shares


def at_random(found: OrientationMap, scan: Any, truth: SampleTruth, seed: int) -> list[float]:
    """The same number of corrections at positions drawn from the whole map."""
    random = np.random.default_rng(seed)
    expert = _Expert(scan, found, truth)
    shares = [expert.share()]
    for _ in range(COUNT):
        expert.session.set_position(*map(int, random.integers((0, 0), found.shape)))
        expert.correct()
        shares.append(expert.share())
    return shares


def sample_map(path: Path | None) -> tuple[OrientationMap, Any, SampleTruth]:
    """The bundled sample, mapped."""
    scan, truth = sample_scan()
    scan = calibrated(scan)
    if path is not None:
        return load_orientation_h5(path), scan, truth
    run = map_orientations(scan, make_method(("LiNiO2", "NiO")))
    return run.map, scan, truth


def picture(path: Path, table_of: Path | None) -> None:
    """Share of right pixels over the number of corrections, as a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found, scan, truth = sample_map(table_of)
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    draws = np.array([at_random(found, scan, truth, seed) for seed in range(DRAWS)]) * 100
    x = np.arange(COUNT + 1)
    axes.fill_between(x, draws.min(0), draws.max(0), color="#BBBBBB", label="at random, all draws")
    axes.plot(x, np.median(draws, axis=0), "--", color="#000000", label="at random, median")
    shares = 100 * np.array(guided(found, scan, truth))
    axes.plot(np.arange(len(shares)), shares, "o-", color="#0072B2", label="along the queue")
    axes.set(xlabel="corrections", ylabel="right pixels (%)", xticks=x[::4])
    axes.legend(loc="center right", framealpha=1)
    figure.savefig(path, dpi=150)


# ------------------------------------------------------------------- latency
def large_map(size: int = SIZE) -> OrientationMap:
    """Voronoi grains of two phases with three answers and patches of doubt."""
    from scipy.spatial import cKDTree

    random = np.random.default_rng(1)
    seeds = random.uniform(0, size, (GRAINS, 2))
    places = np.stack(np.indices((size, size)), axis=-1).reshape(-1, 2)
    grain = cKDTree(seeds).query(places)[1].reshape(size, size)
    q = random.normal(size=(GRAINS, 3, 4))
    q /= np.linalg.norm(q, axis=-1, keepdims=True)
    small = random.normal(size=(size, size, 1, 4)) * 0.002
    rotations = q[grain] + small
    rotations /= np.linalg.norm(rotations, axis=-1, keepdims=True)
    doubt = random.random(GRAINS)[grain] < 0.1
    return OrientationMap(
        rotations=rotations,
        scores=np.tile([0.9, 0.7, 0.5], (size, size, 1)),
        phase_ids=np.repeat((np.arange(GRAINS) % 2)[grain][..., None], 3, axis=-1),
        reliability=np.where(doubt, 0.4, 0.95),
        ambiguity=np.where(doubt, 1, 0),
        phases=load_phases(["Au", "LiNiO2"]),
    )


class _Quiet(ImmediateRunner):
    """Once the map is shown, only what the user waits for: zones and lines come beside it."""

    quiet = False

    def latest(self, slot: str, *given: Any, **more: Any) -> None:
        """Carry corrections out at once."""
        if slot == "correction" or not self.quiet:
            super().latest(slot, *given, **more)


def latencies(size: int = SIZE) -> dict[str, float]:
    """Median seconds from an edit to new data in the layers, without drawing."""
    import dask.array as da
    from napari.components import ViewerModel

    from napari_diffmap.maps.edits.corrections import LabelMap
    from napari_diffmap.viewer.label_layers import LabelLayers
    from napari_diffmap.viewer.map_edits import MapEdits
    from napari_diffmap.viewer.map_layers import MapLayers

    axes = tuple(
        Axis(name, n) for name, n in zip(["y", "x", "ky", "kx"], (size, size, 4, 4), strict=True)
    )
    data = da.zeros((size, size, 4, 4), chunks=(64, size, 4, 4), dtype=np.uint8)
    viewer, session, runner = ViewerModel(), Session(), _Quiet()
    maps = MapLayers(session, viewer, runner)
    edits = MapEdits(session, maps)
    layers = LabelLayers(session, viewer)
    correcting = Correcting(session, runner)
    correcting.refining = False
    session.set_scan(Scan(data, axes, "4D-STEM", "empty"))
    session.set_map(large_map(size))
    assert edits.session.corrections is not None
    runner.quiet = True
    random = np.random.default_rng(0)
    out: dict[str, float] = {}

    def timed(name: str, act: Callable[[], None]) -> None:
        spent = []
        for _ in range(ROUNDS):
            session.set_position(*map(int, random.integers(0, size, 2)))
            start = time.perf_counter()
            act()
            spent.append(time.perf_counter() - start)
        out[name] = statistics.median(spent[1:])

    timed("accept the second answer of a pixel", lambda: correcting.accept(1))
    correcting.scope, correcting.radius = "disk", 10.0
    timed("mark a disk of 10 px unknown", lambda: correcting.empty(EditKind.UNKNOWN))
    timed("undo it", correcting.undo)
    labels = edits.session.corrections.add_labels(LabelMap("mine", np.zeros((size, size))))
    session.labels_changed.emit("mine")
    layer = layers.layer("mine")
    assert layer is not None
    layer.brush_size = 20

    def stroke() -> None:
        with layer.block_history():
            layer.paint(session.position, 3)

    timed("a stroke of 20 px on labels", stroke)
    assert labels.values.any()
    return out


def table(path: Path | None = None) -> str:
    """Both tables."""
    found, scan, truth = sample_map(path)
    along = guided(found, scan, truth)
    drawn = [at_random(found, scan, truth, seed)[-1] for seed in range(DRAWS)]
    lines = [
        "| corrections | right pixels |",
        "| --- | --- |",
        f"| none | {along[0]:.1%} |",
        f"| {len(along) - 1} along the queue | {along[-1]:.1%} |",
        f"| {COUNT} at random, median of {DRAWS} draws | {statistics.median(drawn):.1%} |",
        f"| {COUNT} at random, best of {DRAWS} draws | {max(drawn):.1%} |",
        "",
        f"| edit of a map of {SIZE} × {SIZE} | median |",
        "| --- | --- |",
    ]
    lines += [f"| {name} | {1e3 * seconds:.0f} ms |" for name, seconds in latencies().items()]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("map", nargs="?", type=Path)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    print(table(given.map))
    if given.picture is not None:
        picture(given.picture, given.map)
