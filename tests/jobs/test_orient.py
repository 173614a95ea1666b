"""From scan to folder: the map of a crop of the bundled scan, its files, its honesty."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch

from napari_diffmap.crystal.sample import SampleTruth, sample_scan
from napari_diffmap.errors import BadInputError, CalibrationError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.demo import compare_with_truth
from napari_diffmap.jobs.orient import calibrated, make_method, map_orientations, output_folder
from napari_diffmap.jobs.results import write_results
from napari_diffmap.maps.files.export import load_orientation_h5
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan

ROWS, COLUMNS = slice(46, 56), slice(12, 22)  # several grains meet here


def crop(scan: Scan) -> Scan:
    axes = tuple(
        replace(axis, size=part.stop - part.start)
        for axis, part in zip(scan.axes[:2], (ROWS, COLUMNS), strict=True)
    )
    return replace(scan, data=scan.data[ROWS, COLUMNS], axes=(*axes, *scan.axes[2:]))


def crop_truth(truth: SampleTruth) -> SampleTruth:
    fields = {
        name: getattr(truth, name)[ROWS, COLUMNS]
        for name in SampleTruth.__dataclass_fields__
        if name != "phases"
    }
    return replace(truth, **fields)


@pytest.fixture(scope="module")
def sample():
    scan, truth = sample_scan()
    return crop(scan), crop_truth(truth)


@pytest.fixture(scope="module")
def run(sample):
    scan, _ = sample
    return map_orientations(calibrated(scan), make_method(["LiNiO2", "NiO"]), device="cpu")


def test_answers_are_the_truth(run, sample):
    truth = compare_with_truth(run.map, sample[1])
    assert truth["positions"] > 30
    assert truth["within_3_deg"] > 0.9
    assert truth["median_deg"] < 0.7
    assert truth["phase_right"] == 1.0


def test_the_comparison_can_fail(run, sample):
    """The truth of other positions must not fit: the figures mean something."""
    truth = sample[1]
    wrong = replace(truth, rotations=np.roll(truth.rotations, 5, axis=0)[:, ::-1])
    assert compare_with_truth(run.map, wrong)["within_3_deg"] < 0.9
    other_phase = replace(truth, phase_ids=1 - truth.phase_ids)
    assert compare_with_truth(run.map, other_phase)["phase_right"] == 0.0


def test_phases_differ_in_colour(run):
    assert len({phase.color for phase in run.map.phases}) == 2


def test_the_folder_holds_everything(run, tmp_path):
    from orix.io import load

    names = {path.name for path in write_results(run, tmp_path)}
    assert {
        "orientation.h5",
        "orientation.ang",
        *(f"ipf-{d}.png" for d in "xyz"),
        "boundaries.png",
        "ambiguity.png",
        "phases.png",
        "crystals.png",
        "crystals.tif",
        "resolved.tif",
        "score.tif",
        "summary.json",
    } <= names
    assert names == {path.name for path in tmp_path.iterdir()}
    crystal_map = load(tmp_path / "orientation.h5")
    assert crystal_map.shape == run.map.shape
    for name in ("score", "reliability", "ambiguity", "crystals", "resolved"):
        assert name in crystal_map.prop
    assert crystal_map.scan_unit == "nm"
    from_ang = load(tmp_path / "orientation.ang")
    assert from_ang.shape == run.map.shape
    again = load_orientation_h5(tmp_path / "orientation.h5")
    np.testing.assert_array_equal(again.rotations, run.map.rotations)
    assert again.extra["crystals"].dtype == np.uint8
    np.testing.assert_array_equal(again.extra["crystals"], run.result.maps["crystals"])
    assert again.provenance.versions["orix"]
    score = tifffile.imread(tmp_path / "score.tif")
    np.testing.assert_allclose(score, run.map.best_scores, rtol=1e-6)


def test_summary_is_honest_json(run, tmp_path):
    write_results(run, tmp_path)
    record = json.loads((tmp_path / "summary.json").read_text())
    assert record["patterns"] == 100
    assert record["engine"] == "templates"
    threads = torch.get_num_threads()
    assert record["device"] == f"cpu ({threads} thread{'s' if threads > 1 else ''})"
    assert record["used"] == run.map.provenance.parameters["used"]
    assert record["used"]["voltage_kv"] == 200
    assert record["patterns_per_second"] == pytest.approx(100 / record["seconds"], rel=0.02)
    assert 0 <= record["ambiguous_fraction"] <= 1
    assert record["complete"]
    assert sum(record["crystals"].values()) == pytest.approx(1)
    assert 0 <= record["resolved_fraction"] < 0.1
    assert "orix" in record["versions"]


def test_a_stopped_run_writes_what_it_has(sample, tmp_path):
    control = JobControl()
    scan, _ = sample

    def stop_soon(progress):
        if progress.message == "mapping" and progress.done > 10:
            control.stop()

    stopped = map_orientations(
        calibrated(scan),
        make_method(["LiNiO2"]),
        device="cpu",
        control=control,
        on_progress=stop_soon,
    )
    assert 10 < stopped.result.done.sum() < 100
    assert not stopped.summary["complete"]
    assert (stopped.map.ambiguity[~stopped.result.done] == 6).all()
    write_results(stopped, tmp_path)
    assert load_orientation_h5(tmp_path / "orientation.h5").indexed.sum() > 0


def test_nothing_is_invented(sample):
    scan, _ = sample
    bare = replace(scan, calibration=Calibration())
    with pytest.raises(CalibrationError, match="voltage"):
        calibrated(bare)
    with pytest.raises(CalibrationError, match="1/Å"):
        calibrated(bare, voltage_kv=200)
    found = calibrated(bare, voltage_kv=200, pixel_size=0.0225).calibration
    assert found.center_origin == "measured"
    assert found.voltage_origin == found.pixel_size_origin == "entered"
    with pytest.raises(BadInputError, match="phase first"):
        make_method([])


def test_an_output_that_is_a_file_is_refused_before_the_work(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(BadInputError, match="choose another folder"):
        output_folder(tmp_path / "taken")
