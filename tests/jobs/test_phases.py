"""From a stack to a folder of phases: simulated and measured, its files, its honesty."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_diffmap.errors import BadInputError, CancelledError
from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.phases import PhasesRun, map_phases, read_stack
from napari_diffmap.jobs.phases_results import write_phases
from napari_diffmap.maps.files.own_h5 import load_map_h5
from napari_diffmap.maps.spectral_doubt import SpectralDoubt
from napari_diffmap.methods.spectra.incident import Incident, read_mask
from napari_diffmap.methods.spectra.parameters import SpectralParameters
from napari_diffmap.methods.spectra.references import parse_references
from napari_diffmap.methods.spectra.simulated import (
    Truth,
    simulated_references,
    simulated_scan,
)
from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.scan import Scan

REFERENCES = simulated_references()


@pytest.fixture(scope="module")
def sample() -> tuple[Scan, Truth]:
    return simulated_scan(12, 2000, (48, 48), 1)


@pytest.fixture(scope="module")
def run(sample: tuple[Scan, Truth]) -> PhasesRun:
    return map_phases(sample[0], REFERENCES, device="cpu")


def test_answers_are_the_truth(run: PhasesRun, sample: tuple[Scan, Truth]) -> None:
    truth = sample[1]
    inside = run.map.indexed
    union = inside | (truth.labels >= 0)
    assert (inside & (truth.labels >= 0)).sum() / union.sum() > 0.98
    right = run.map.best_phase_ids == truth.labels
    assert right[truth.pure].mean() > 0.98
    sure = run.map.ambiguity == SpectralDoubt.NONE
    assert right[sure].mean() > 0.97
    doubted = (run.map.ambiguity != SpectralDoubt.NONE) & inside
    assert doubted[truth.mixed].mean() > doubted[truth.pure].mean() + 0.3


def test_the_comparison_can_fail(run: PhasesRun, sample: tuple[Scan, Truth]) -> None:
    other = sample[1].labels[::-1]
    both = run.map.indexed & (other >= 0)
    assert (run.map.best_phase_ids == other)[both].mean() < 0.6


def test_mean_spectra_are_those_of_the_phases(run: PhasesRun) -> None:
    np.testing.assert_allclose(run.spectra["energy"], run.density.energies)
    for i, reference in enumerate(REFERENCES):
        mean = run.spectra[reference.name]
        if np.isfinite(mean).all():
            curves = np.stack([r.at(run.density.energies) for r in REFERENCES])
            r = [np.corrcoef(mean, curve)[0, 1] for curve in curves]
            assert int(np.argmax(r)) == i


def test_the_folder_holds_everything(run: PhasesRun, tmp_path: Path) -> None:
    names = {path.name for path in write_phases(run, tmp_path)}
    wanted = {"phases.tif", "fractions.tif", "composition.tif", "doubt.tif", "phases.png",
              "fractions.png", "doubt.png", "spectra.csv", "summary.json", "phases.h5"}  # fmt: skip
    assert wanted <= names
    assert names == {path.name for path in tmp_path.iterdir()}
    phases = tifffile.imread(tmp_path / "phases.tif")
    np.testing.assert_array_equal(phases, run.map.best_phase_ids + 1)
    fractions = tifffile.imread(tmp_path / "fractions.tif")
    assert fractions.shape == (5, 48, 48)
    np.testing.assert_allclose(fractions, run.map.fractions.transpose(2, 0, 1), rtol=1e-6)
    doubt = tifffile.imread(tmp_path / "doubt.tif")
    assert set(np.unique(doubt)) <= {0, 1, 2, 3}
    for cause, code in ((1, 1), (2, 2), (3, 3), (4, 1), (5, 1), (0, 0), (6, 0)):
        assert (doubt[run.map.ambiguity == cause] == code).all()
    again = load_map_h5(tmp_path / "phases.h5")
    for name in (*run.map.arrays, *run.map.measured):
        np.testing.assert_array_equal(getattr(again, name), getattr(run.map, name), err_msg=name)
    with (tmp_path / "spectra.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0][:2] == ["energy_eV", "I0"]
    assert len(rows) == 13
    column = rows[0].index("reference Na3")
    listed = np.array([float(row[column]) for row in rows[1:]])
    np.testing.assert_allclose(listed, REFERENCES[0].at(run.density.energies), rtol=1e-5)


def test_summary_is_honest_json(run: PhasesRun, tmp_path: Path) -> None:
    write_phases(run, tmp_path)

    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is no JSON")

    record = json.loads((tmp_path / "summary.json").read_text("utf-8"), parse_constant=refuse)
    assert record["mapped"] == run.map.indexed.sum()
    assert record["references"] == ["Na3", "Na2.4", "Na2", "Na1", "Na<1"]
    assert sum(record["phase_fractions"].values()) == pytest.approx(1)
    assert sum(record["mean_fractions"].values()) == pytest.approx(1, abs=1e-5)
    assert sum(record["doubt"].values()) == pytest.approx(record["ambiguous_fraction"])
    assert 0 <= record["false_assignment_rate"] < 0.1
    assert record["counting"] is True
    assert record["incident"] == "brightest pixels (histogram)"
    assert record["methods"][0]["name"] == "posterior"
    x = record["mean_composition"]
    assert x == pytest.approx(float(np.nanmean(run.map.composition)), rel=1e-5)


def test_the_same_run_gives_the_same_map(run: PhasesRun, sample: tuple[Scan, Truth]) -> None:
    again = map_phases(sample[0], REFERENCES, device="cpu")
    for name in (*run.map.arrays, *run.map.measured):
        np.testing.assert_array_equal(getattr(again.map, name), getattr(run.map, name))


def test_without_compositions_there_is_none(sample: tuple[Scan, Truth]) -> None:
    plain = [replace(r, composition=None) for r in REFERENCES]
    p = SpectralParameters(compare=False, calibrate=False)
    found = map_phases(sample[0], plain, p, device="cpu")
    assert found.map.composition is None
    assert found.summary["mean_composition"] is None
    assert np.isnan(found.summary["false_assignment_rate"])


def test_masked_pixels_are_saturated(sample: tuple[Scan, Truth]) -> None:
    masked = np.zeros((48, 48), dtype=bool)
    masked[10:30, 10:30] = True
    p = SpectralParameters(compare=False, calibrate=False)
    found = map_phases(sample[0], REFERENCES, p, masked=masked, device="cpu").map
    inside = found.indexed & masked
    assert inside.any()
    assert (found.ambiguity[inside] == SpectralDoubt.SATURATED).all()
    assert not (found.ambiguity[~masked] == SpectralDoubt.SATURATED).any()


def test_a_stack_of_densities_gives_the_same_phases(
    run: PhasesRun, sample: tuple[Scan, Truth]
) -> None:
    import dask.array as da

    density = run.density.od
    scan = replace(sample[0], data=da.from_array(density, chunks=(1, 48, 48)))
    incident = Incident(already_density=True)
    found = map_phases(scan, REFERENCES, incident=incident, device="cpu")
    assert found.summary["counting"] is False
    assert found.summary["incident"] == "the stack holds optical density"
    truth = sample[1]
    right = found.map.best_phase_ids == truth.labels
    assert right[truth.pure].mean() > 0.97


def test_frames_that_drift_are_aligned(sample: tuple[Scan, Truth]) -> None:
    import dask.array as da
    from scipy.ndimage import shift as move

    scan, truth = sample
    stack = np.asarray(scan.data.compute(), dtype=np.float64)
    places = np.cumsum(np.random.default_rng(0).normal(0, 0.5, (12, 2)), axis=0)
    places -= np.median(places, axis=0)
    drifted = np.stack([move(f, p, mode="nearest") for f, p in zip(stack, places, strict=True)])
    moved = replace(scan, data=da.from_array(np.rint(np.maximum(drifted, 1)).astype(np.uint32)))
    right = {}
    for align in (False, True):
        p = SpectralParameters(align=align, compare=False, calibrate=False)
        found = map_phases(moved, REFERENCES, p, device="cpu")
        said = found.map.best_phase_ids == truth.labels
        right[align] = said[truth.pure].mean()
        assert any("aligned by up to" in note for note in found.map.warnings) is align
    assert right[True] > 0.95
    assert right[True] > right[False]


def test_a_stop_ends_it_at_any_time(sample: tuple[Scan, Truth]) -> None:
    for message in ("reading the stack", "telling phases (posterior)", "looking for doubt"):
        control = JobControl()

        def stop(progress: Progress, control: JobControl = control, at: str = message) -> None:
            if progress.message == at:
                control.stop()

        with pytest.raises(CancelledError):
            map_phases(sample[0], REFERENCES, device="cpu", control=control, on_progress=stop)


def test_what_is_no_stack_over_energy_is_refused(sample: tuple[Scan, Truth]) -> None:
    from napari_diffmap.crystal.sample import sample_scan

    with pytest.raises(BadInputError, match="phases need images over energy"):
        map_phases(sample_scan()[0], REFERENCES)
    scan = sample[0]
    nameless = replace(scan, axes=(replace(scan.axes[0], unit="", values=None), *scan.axes[1:]))
    with pytest.raises(BadInputError, match="does not say its energies"):
        read_stack(nameless)


def test_missing_positions_are_unknown(sample: tuple[Scan, Truth]) -> None:
    scan = sample[0]
    missing = np.zeros(scan.shape, dtype=bool)
    missing[3, 20:24] = True
    if scan.missing is None:
        scan = replace(scan, missing=missing)
    stack = read_stack(scan)
    assert np.isnan(stack.values[3, 20:24]).all()
    assert stack.whole


# Measured: iron of hydrothermal particles, with end members and a mask of its authors.


@pytest.fixture(scope="module")
def iron(shared_data: Path) -> tuple[PhasesRun, np.ndarray]:
    folder = shared_data / "stxm_iron_2p" / "71214078_FigS4" / "Aligned"
    if not folder.is_dir():
        pytest.skip("stxm_iron_2p absent: a measured stack of iron")
    scan = open_scan(folder / "71214078.hdr")
    mask = read_mask(folder / "mask_file.msk", scan.shape[1:])
    named = [f"{name}={folder / name}.t" for name in ("reduced", "oxidized")]
    incident = Incident(file=folder / "i0.xsp")
    run = map_phases(scan, parse_references(named), incident=incident, masked=mask, device="cpu")
    return run, mask


def test_iron_is_reduced_and_oxidized(iron: tuple[PhasesRun, np.ndarray]) -> None:
    run, mask = iron
    sure = (run.map.ambiguity == SpectralDoubt.NONE) & ~mask
    reduced, oxidized = ((run.map.best_phase_ids == i) & sure for i in (0, 1))
    assert reduced.sum() > oxidized.sum() > 100
    # The two peaks of the Fe L3 edge, as the eye tells them.
    energy = run.density.energies
    ratio = {
        name: run.spectra[name][np.abs(energy - 707.9).argmin()]
        / run.spectra[name][np.abs(energy - 709.6).argmin()]
        for name in ("reduced", "oxidized")
    }
    assert ratio["reduced"] > ratio["oxidized"]


def test_iron_is_doubted_where_thin_and_where_masked(iron: tuple[PhasesRun, np.ndarray]) -> None:
    run, mask = iron
    inside = run.map.indexed
    assert (run.map.ambiguity[inside & mask] == SpectralDoubt.SATURATED).all()
    thickness = run.map.extra["thickness"]
    usable = inside & ~mask
    thin = usable & (thickness < np.quantile(thickness[usable], 0.2))
    thick = usable & (thickness > np.quantile(thickness[usable], 0.8))
    unsure = np.isin(run.map.ambiguity, (SpectralDoubt.AMBIGUITY, SpectralDoubt.THIN))
    assert unsure[thin].mean() > 2 * unsure[thick].mean()
    assert (run.map.ambiguity == SpectralDoubt.THIN).sum() > 100
    assert not run.summary["counting"], "the frames hold fractions of counts"
