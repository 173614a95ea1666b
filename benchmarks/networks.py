"""Networks beside templates and nearest neighbour, on patterns of an independent simulator.

``python -m benchmarks.networks --folder LISTS [MODEL …]``: every shipped model (or those named)
on the dynamical patterns of py4DSTEM that `benchmarks.dynamical_sets` simulated into the folder;
none was trained on them.  Speeds are medians of interleaved runs on two threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import dynamical_images as images
from napari_diffmap.crystal.phases import CrystalPhase, load_phase, load_phases
from napari_diffmap.crystal.simulate import rotation_matrices
from napari_diffmap.maps.quaternions import disorientation
from napari_diffmap.methods.networks.domain import Domain
from napari_diffmap.methods.networks.inputs import PolarInput
from napari_diffmap.methods.networks.method import NetworkMethod, orientation_method
from napari_diffmap.methods.networks.patterns import PatternPool
from napari_diffmap.methods.networks.proposals import Proposals
from napari_diffmap.methods.networks.tasks import calibration_error
from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters
from napari_diffmap.methods.orientation.method import join_peaks
from napari_diffmap.methods.orientation.rotations import matrices_to_quaternions
from napari_diffmap.methods.registration.spots import PeakBatch
from napari_diffmap.models.registry import ModelEntry, models
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import iter_tiles

RIGHT_DEG = 3.0
#: Clear spots that a pattern needs to be asked for its phase.
SPOTS = 5
REPEATS = 3
#: Patterns that the nearest neighbour looks among.
NEIGHBOURS = 60_000
#: Electrons in the diffracted beams, and thickness in Å, of the rows of the second table.
DOSES = ((1e2, 3e2), (3e2, 1e3), (1e3, 1e4), (1e4, 2e5))
THICKNESSES = ((100, 250), (250, 400), (400, 600))


@dataclass(frozen=True, eq=False)
class Found:
    """What a matcher made of a set.

    Attributes
    ----------
    raw, polished
        ``(n,)`` degrees off the truth of the network's first proposal (nan for templates) and of
        the final answer; infinite without one.
    turned
        ``(n,)`` of the first proposal or of its half turn about the beam, the nearer.
    reliable
        ``(n,)`` bool.
    seconds
        Of spot finding, of proposals alone, and of all but spot finding.
    """

    raw: NDArray[np.float64]
    turned: NDArray[np.float64]
    polished: NDArray[np.float64]
    reliable: NDArray[np.bool_]
    seconds: tuple[float, float, float]


def as_scan(patterns: NDArray[np.uint16]) -> Scan:
    """A scan of one row."""
    n = len(patterns)
    axes = (Axis("y", 1), Axis("x", n), Axis("ky", 128), Axis("kx", 128))
    known = Calibration(None, images.PIXEL, 200.0, "missing", "file", "file")
    data = da.from_array(patterns[None], chunks=(1, 64, *images.SHAPE))
    return Scan(data, axes, "4D-STEM", "dynamical", calibration=known)


def prepared(engine: str, phases: Sequence[CrystalPhase], scan: Scan) -> OrientationMethod:
    """A matcher with every setting as it comes, but that beams do not drift."""
    method = orientation_method(OrientationParameters(engine=engine, descan="none"), phases)
    method.prepare(scan)
    return method


def off(
    quaternions: NDArray[np.floating], truth: NDArray[np.float64], phase: CrystalPhase
) -> NDArray[np.float64]:
    return np.asarray(disorientation(quaternions, truth, phase.symmetry), dtype=np.float64)


def measure(method: OrientationMethod, scan: Scan, truth: NDArray[np.float64]) -> Found:
    """Spots, proposals and answers, each timed."""
    phase = method.phases[0]
    start = time.perf_counter()
    spots = [method.find_spots(tile) for tile in iter_tiles(scan)]
    finding = time.perf_counter() - start
    raw = turned = np.full(len(truth), np.nan)
    asking = 0.0
    if isinstance(method, NetworkMethod):
        proposer = method.search.proposer  # type: ignore[attr-defined]
        start = time.perf_counter()
        said = []
        for peaks, _ in spots:  # on as many threads as a map is made with

            def ask(part: slice, peaks: PeakBatch = peaks) -> Proposals:
                return proposer.propose(peaks.take(torch.arange(part.start, part.stop)))[0]  # type: ignore[no-any-return]

            said += method._spread(ask, len(peaks), method.search.batch)
        asking = time.perf_counter() - start
        first = torch.cat([one.matrices[:, 0] for one in said]).transpose(-1, -2)
        q = matrices_to_quaternions(first.numpy()).astype(np.float64)
        raw = off(q, truth, phase)
        half = np.asarray(disorientation(q, truth, phase.symmetry, half_turn=True))
        turned = np.minimum(raw, half)
    start = time.perf_counter()
    answers = [method.answer(*one) for one in spots]
    answering = time.perf_counter() - start
    maps = [method._as_maps(*one) for one in answers]
    q, number, reliability = (
        np.concatenate([one[name] for one in maps])
        for name in ("rotations", "phase_ids", "reliability")
    )
    final = np.where(number[:, 0] >= 0, off(q[:, 0], truth, phase), np.inf)
    return Found(raw, turned, final, reliability >= 0.9, (finding, asking, answering))


def nearest_neighbour(
    peaks: PeakBatch, truth: NDArray[np.float64], phase: CrystalPhase
) -> tuple[NDArray[np.float64], float]:
    """Degrees off of the most alike of many simulated patterns, all turns in the plane tried."""
    seen = PolarInput(angles=72)
    pool = PatternPool([phase], Domain(two_grains=0, nothing=0), 8192, 5)
    pool.fill()
    drawn, true = pool.draw(NEIGHBOURS // 8)

    def spectra(spots: PeakBatch) -> torch.Tensor:
        picture = seen.draw(spots)[..., seen.rings : 2 * seen.rings]
        picture = picture / torch.linalg.vector_norm(picture, dim=(1, 2), keepdim=True).clamp_min(
            1e-9
        )
        return torch.fft.rfft(picture, dim=1)

    known = spectra(drawn)
    start = time.perf_counter()
    best, angle = [], []
    for part in spectra(peaks).split(8):
        product = torch.einsum("bfr,nfr->bnf", part, known.conj())
        match = torch.fft.irfft(product, n=72, dim=2)
        _, place = match.reshape(len(part), -1).max(1)
        best.append(place // 72)
        angle.append(place % 72)
    seconds = time.perf_counter() - start
    turn = torch.cat(angle) * (2 * np.pi / 72)
    about = torch.zeros(len(turn), 4)
    about[:, 0], about[:, 3] = torch.cos(turn / 2), torch.sin(turn / 2)
    matrices = rotation_matrices(about) @ true.matrices[torch.cat(best), 0]
    q = matrices_to_quaternions(matrices.transpose(-1, -2).numpy())
    return off(q, truth, phase), seconds


def _percent(flags: NDArray[np.bool_]) -> str:
    return f"{100 * flags.mean():.1f} %"


def noted(path: str, found: Found, pace: NDArray[np.float64]) -> None:
    """Write into a model's card how good and how fast it was; the weights stay as they are."""
    from napari_diffmap.models.card import Accuracy, Speed
    from napari_diffmap.models.device import device_label
    from napari_diffmap.models.weights import read_model, write_model

    card, state = read_model(Path(path))
    dataset = "LiNiO2 by py4DSTEM (Bloch waves), first proposal"
    refined = dataset.replace("first proposal", "refined")
    n, where = len(found.raw), device_label("cpu")
    measured = (
        Accuracy(
            dataset=dataset,
            patterns=n,
            within_3deg=float((found.raw < RIGHT_DEG).mean()),
            within_3deg_up_to_twin=float((found.turned < RIGHT_DEG).mean()),
            median_deg=round(float(np.median(found.raw)), 3),
        ),
        Accuracy(
            dataset=refined,
            patterns=n,
            within_3deg=float((found.polished < RIGHT_DEG).mean()),
            median_deg=round(float(np.median(found.polished)), 3),
            polished=True,
        ),
    )
    kept = tuple(one for one in card.accuracy if one.dataset not in (dataset, refined))
    speed = (
        Speed(device=where, patterns_per_second=round(float(pace[0]))),
        Speed(device=where, patterns_per_second=round(float(pace[2])), polished=True),
    )
    card = card.model_copy(update={"accuracy": (*measured, *kept), "speed": speed})
    write_model(Path(path), state, card)


def families(
    folder: Path,
    entries: Sequence[ModelEntry],
    name: str = "LiNiO2",
    note: Callable[[str, Found, NDArray[np.float64]], None] | None = None,
) -> Iterator[str]:
    """Every model on one phase; `note` is told of each."""
    phase = load_phase(name)
    made = images.draw(name, folder / f"{name}-{images.PATTERNS}-{images.SEED}.npz")
    scan = as_scan(made.images)
    yield (
        f"{len(made.images)} patterns of {name} by py4DSTEM (Bloch waves, 100–600 Å, 10⁴–2·10⁵"
        f" diffracted electrons); right: within {RIGHT_DEG:g}°.\n"
    )
    yield (
        "| engine | size | network alone: right | … up to half a turn | polished: right | median |"
        " called reliable | right of these | proposals/s | with spots | polished/s | × templates |"
    )
    yield "| --- " * 12 + "|"
    names = ["templates", *(str(entry.path) for entry in entries)]
    methods = {engine: prepared(engine, [phase], scan) for engine in names}
    runs: dict[str, list[Found]] = {engine: [] for engine in names}
    for _ in range(REPEATS):
        for engine, method in methods.items():
            runs[engine].append(measure(method, scan, made.rotations))
    n = len(made.images)
    pace = {
        engine: np.median([[n / max(s, 1e-9) for s in (
            one.seconds[1], one.seconds[0] + one.seconds[1], one.seconds[0] + one.seconds[2]
        )] for one in found], axis=0)
        for engine, found in runs.items()
    }  # fmt: skip
    sizes = {str(entry.path): f"{entry.nbytes / 1e6:.1f} MB" for entry in entries}
    labels = {str(entry.path): entry.name for entry in entries}
    for engine, found in runs.items():
        one, p = found[0], pace[engine]
        network = engine != "templates"
        cells = (
            labels.get(engine, engine),
            sizes.get(engine, "–"),
            _percent(one.raw < RIGHT_DEG) if network else "–",
            _percent(one.turned < RIGHT_DEG) if network else "–",
            _percent(one.polished < RIGHT_DEG),
            f"{np.median(one.polished):.2f}°",
            _percent(one.reliable),
            _percent(one.polished[one.reliable] < RIGHT_DEG),
            f"{p[0]:.0f}" if network else "–",
            f"{p[1]:.0f}" if network else "–",
            f"{p[2]:.0f}",
            f"{p[2] / pace['templates'][2]:.2f}",
        )
        yield "| " + " | ".join(cells) + " |"
        if network and note is not None:
            note(engine, one, p)
    peaks = join_peaks([methods["templates"].find_spots(tile)[0] for tile in iter_tiles(scan)])
    error, seconds = nearest_neighbour(peaks, made.rotations, phase)
    yield (
        f"| nearest of {NEIGHBOURS // 8} × 72 | – | {_percent(error < RIGHT_DEG)} | – | – |"
        f" {np.median(error):.2f}° | – | – | {n / seconds:.0f} | – | – | – |"
    )


def conditions(folder: Path, engine: str, name: str = "LiNiO2") -> Iterator[str]:
    """Templates and a network over dose and thickness."""
    phase = load_phase(name)
    lists = folder / f"{name}-{images.PATTERNS}-{images.SEED}.npz"
    yield "| diffracted electrons | thickness (Å) | patterns | templates | network, polished |"
    yield "| --- " * 5 + "|"
    usual = images.COUNTS
    for dose in DOSES:
        images.COUNTS = dose
        made = images.draw(name, lists)
        scan = as_scan(made.images)
        found = [
            measure(prepared(each, [phase], scan), scan, made.rotations).polished < RIGHT_DEG
            for each in ("templates", engine)
        ]
        for low, high in THICKNESSES:
            here = (made.thickness >= low) & (made.thickness < high)
            yield (
                f"| {dose[0]:.0f}–{dose[1]:.0f} | {low}–{high} | {here.sum()} |"
                f" {_percent(found[0][here])} | {_percent(found[1][here])} |"
            )
    images.COUNTS = usual


def phases(folder: Path, engine: str, names: Sequence[str]) -> Iterator[str]:
    """Which of several phases: the network alone, and after refinement."""
    sample = load_phases(names)
    yield f"Patterns with at least {SPOTS} clear spots.\n"
    yield "| phase | patterns | network alone | polished | templates |"
    yield "| --- " * 5 + "|"
    recalls, said_all, right_all = [], [], []
    for i, name in enumerate(names):
        made = images.draw(name, folder / f"{name}-{images.PATTERNS}-{images.SEED}.npz")
        scan = as_scan(made.images)
        method = prepared(engine, sample, scan)
        assert isinstance(method, NetworkMethod)
        spots = [method.find_spots(tile) for tile in iter_tiles(scan)]
        count = torch.cat([peaks.count for peaks, _ in spots]).numpy()
        asked = count >= SPOTS
        said = torch.cat(
            [method.search.proposer.propose(peaks)[0].phases for peaks, _ in spots]  # type: ignore[attr-defined]
        )
        templates = prepared("templates", sample, scan)
        alone = said.argmax(1).numpy()
        polished, matched = (
            np.concatenate([m._as_maps(*m.answer(*one))["phase_ids"][:, 0] for one in spots])
            for m in (method, templates)
        )
        rows = [(found == i)[asked] for found in (alone, polished, matched)]
        recalls.append([row.mean() for row in rows])
        said_all.append(said.amax(1)[asked])
        right_all.append(torch.as_tensor(rows[0]))
        yield f"| {name} | {asked.sum()} | " + " | ".join(map(_percent, rows)) + " |"
    means = [f"**{100 * value:.1f} %**" for value in np.mean(recalls, axis=0)]
    yield "| balanced | | " + " | ".join(means) + " |"
    error = calibration_error(torch.cat(said_all), torch.cat(right_all))
    yield f"\nExpected calibration error of the network's phase: {100 * error:.1f} %."


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="names or files; all shipped ones")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--default", default="cathode-polar")
    parser.add_argument("--cards", action="store_true", help="write what is found into the cards")
    arguments = parser.parse_args()
    from napari_diffmap.models.registry import find

    torch.set_num_threads(2)
    if arguments.models:
        entries = [find(name, "orientation") for name in arguments.models]
    else:
        entries = [e for e in models() if e.card is not None and e.shipped and not e.problem]
    known = {"LiNiO2"}
    entries = [e for e in entries if e.card and known & {note.name for note in e.card.phases}]
    default = next((e for e in entries if e.name == arguments.default), entries[0])
    for line in families(arguments.folder, entries, note=noted if arguments.cards else None):
        print(line, flush=True)
    print()
    for line in conditions(arguments.folder, str(default.path)):
        print(line, flush=True)
    assert default.card is not None
    several = [note.name for note in default.card.phases]
    if len(several) > 1:
        print()
        for line in phases(arguments.folder, str(default.path), several):
            print(line, flush=True)


if __name__ == "__main__":
    main()
