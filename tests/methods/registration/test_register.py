"""From a scan to a table: geometry, tiles, averaging, the published recipe, matching."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from napari_diffmap.errors import BadInputError, CancelledError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.register import register, save_maps
from napari_diffmap.methods.registration import RegistrationMethod, RegistrationParameters
from napari_diffmap.methods.registration.consistent import keep_consistent
from napari_diffmap.scan.calibration import Calibration


def run(scan: Any, **parameters: Any) -> Any:
    return register(scan, RegistrationParameters(**parameters), device="cpu")


def lattice(angle: float) -> np.ndarray:
    """Spots of the simulated crystal relative to the beam, pixels."""
    h, k = np.meshgrid(range(-2, 3), range(-2, 3), indexing="ij")
    h, k = h.ravel(), k.ravel()
    keep = (h != 0) | (k != 0)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return 11.3 * (rotation @ np.stack((h, k))[:, keep]).T


def test_every_spot_of_two_crystals(bench: Any) -> None:
    patterns, which = bench.crystal_scan()
    table = run(bench.as_scan(patterns)).table
    assert table.shape == which.shape
    assert not table.calibrated
    for y in range(which.shape[0]):
        for x in range(which.shape[1]):
            truth = lattice((0.1, 0.6)[which[y, x]])
            truth = truth[np.abs(truth).max(axis=1) < 29]
            a, b, false = bench.match(table.at(y, x)[:, :2], truth)
            assert len(b) >= len(truth) - 1
            assert false <= 2
            gaps = np.hypot(*(table.at(y, x)[a, :2] - truth[b]).T)
            assert np.median(gaps) < 0.15
    assert table.intensity_map().min() > 0.5 * table.intensity_map().max()


def test_positions_are_calibrated_where_the_scan_is(bench: Any) -> None:
    patterns, _ = bench.crystal_scan((2, 3))
    known = Calibration((31.5, 31.5), 0.02, center_origin="file", pixel_size_origin="file")
    plain = run(bench.as_scan(patterns)).table
    scaled = run(bench.as_scan(patterns, known)).table
    assert scaled.calibrated
    np.testing.assert_allclose(scaled.ky, plain.ky * 0.02, atol=0.05 * 0.02)
    squeezed = known.with_ellipse((1.05, 0.0), "entered")
    round_again = run(bench.as_scan(patterns, squeezed)).table
    far = np.abs(plain.kx) > 10
    ratio = round_again.kx[far] / scaled.kx[far]
    np.testing.assert_allclose(ratio, 1 / np.sqrt(1.05), rtol=0.01)


def test_a_walking_beam_is_followed(bench: Any) -> None:
    patterns, which = bench.crystal_scan((8, 8), seed=5)
    moved = np.stack(
        [[np.roll(patterns[y, x], (x // 2, -(y // 2)), (0, 1)) for x in range(8)] for y in range(8)]
    )
    table = run(bench.as_scan(moved)).table
    for y, x in ((0, 0), (7, 7), (3, 6)):
        truth = lattice((0.1, 0.6)[which[y, x]])
        a, b, _ = bench.match(table.at(y, x)[:, :2], truth)
        assert len(b) >= 15
        # The walk comes in whole pixels, the descan is a plane: half a pixel is left.
        assert np.median(np.hypot(*(table.at(y, x)[a, :2] - truth[b]).T)) < 0.6


def test_averaging_neighbours_finds_fainter_spots(bench: Any) -> None:
    patterns, _ = bench.crystal_scan((7, 8), dose=4.0)
    plain, averaged = run(bench.as_scan(patterns)), run(bench.as_scan(patterns), neighbours=True)
    inside = (slice(1, -1), slice(1, 3))
    assert averaged.table.count_map()[inside].mean() > 1.5 * plain.table.count_map()[inside].mean()
    truth = lattice(0.1)
    found = averaged.table.at(3, 1)[:, :2]
    assert bench.match(found, truth)[2] <= 2, "nothing false in their place"
    assert averaged.table.noise_map()[3, 1] < 0.5 * plain.table.noise_map()[3, 1]


def test_the_published_recipe(bench: Any) -> None:
    patterns, _ = bench.crystal_scan((2, 2), dose=120.0)
    table = run(bench.as_scan(patterns), preset="ePattern").table
    truth = lattice(0.1)
    truth = truth[np.abs(truth).max(axis=1) < 27]
    a, b, _ = bench.match(table.at(0, 0)[:, :2], truth)
    assert len(b) >= 0.9 * len(truth)
    # The published centres: drawn by what the background leaves and by neighbours.
    assert np.median(np.hypot(*(table.at(0, 0)[a, :2] - truth[b]).T)) < 0.6
    assert np.isfinite(table.noise_map()).all()


def test_our_centres_beat_the_published_ones(bench: Any) -> None:
    images, truth = bench.scene(2, 5.0, size=256)
    scan = bench.as_scan(images[None])
    errors = {}
    for preset in ("adaptive", "ePattern"):
        # One row of unrelated patterns: the recipe's scan mean must not mix them.
        method = RegistrationMethod(RegistrationParameters(preset=preset))
        method.prepare(scan)
        gaps = []
        for i, (places, _) in enumerate(truth):
            method._frames = lambda _tile, i=i: images[i : i + 1]  # type: ignore[method-assign]
            at, _ = method.look(0, i)
            a, b, _ = bench.match(at, places)
            gaps += list(np.hypot(*(at[a] - places[b]).T))
        errors[preset] = np.median(gaps)
    assert errors["adaptive"] < 0.06
    assert errors["adaptive"] < 0.6 * errors["ePattern"]


def test_missing_and_empty_patterns_have_no_spots(bench: Any) -> None:
    patterns, _ = bench.crystal_scan((3, 4))
    patterns[0, 0] = 0
    missing = np.zeros((3, 4), bool)
    missing[2, 1] = True
    found = run(bench.as_scan(patterns, missing=missing))
    counts, noise = found.table.count_map(), found.table.noise_map()
    assert counts[0, 0] == counts[2, 1] == 0
    assert np.isnan(noise[0, 0])
    assert np.isnan(noise[2, 1])
    assert found.summary["patterns"] == 10


def test_pieces_do_not_change_the_table(bench: Any, monkeypatch: Any) -> None:
    patterns, _ = bench.crystal_scan((5, 7))
    whole = run(bench.as_scan(patterns)).table
    monkeypatch.setattr("napari_diffmap.jobs.pieces.InProcess._size", lambda _self: 3)
    cut = run(bench.as_scan(patterns)).table
    for name, values in whole.columns.items():
        np.testing.assert_allclose(cut.columns[name], values, rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_stopped_run_keeps_what_it_found(bench: Any) -> None:
    patterns, _ = bench.crystal_scan((6, 8))
    control = JobControl()
    seen = []

    def watch(progress: Any) -> None:
        seen.append(progress)
        if progress.message == "registering":
            control.stop()

    found = register(bench.as_scan(patterns), control=control, on_progress=watch, device="cpu")
    assert isinstance(found.error, CancelledError)
    assert 0 < found.done.sum() < 48
    assert (found.table.count_map() > 0).sum() == found.done.sum()
    assert not found.summary["complete"]
    assert seen[-1].done == found.done.sum()


def test_a_scan_that_cannot_be_registered_is_refused(bench: Any) -> None:
    patterns, _ = bench.crystal_scan((2, 2))
    with pytest.raises(BadInputError, match="lower the inner limit"):
        run(bench.as_scan(patterns), inner=300.0)
    with pytest.raises(BadInputError, match="too small"):
        run(bench.as_scan(patterns[:, :, :8, :8]))
    with pytest.raises(ValidationError, match="must lie beyond"):
        RegistrationParameters(inner=10, outer=5)


def test_singletons_are_dropped_and_told(bench: Any) -> None:
    patterns, _ = bench.crystal_scan((6, 8), dose=8.0)
    loose = run(bench.as_scan(patterns), false_spots=5.0).table
    kept, report = keep_consistent(loose)
    assert report.kept == len(kept)
    assert report.dropped == len(loose) - len(kept) > 0
    assert f"{report.dropped:,}" in report.in_words()
    truth = [lattice(a) for a in (0.1, 0.6)]

    def tally(table: Any) -> tuple[int, int]:
        true = false = 0
        for y in range(6):
            for x in range(8):
                a, _, wrong = bench.match(table.at(y, x)[:, :2], truth[int(x >= 4)])
                true, false = true + len(a), false + wrong
        return true, false

    before, after = tally(loose), tally(kept)
    assert after[0] > 0.97 * before[0], "true spots stay"
    assert after[1] < 0.5 * before[1], "false ones go"
    strict = tally(run(bench.as_scan(patterns), false_spots=0.01).table)
    assert after[0] > 1.1 * strict[0], "a loose knob and the filter find more than a strict knob"


def test_positions_without_neighbours_are_not_judged(bench: Any) -> None:
    patterns, _ = bench.crystal_scan((1, 1))
    table = run(bench.as_scan(patterns)).table
    kept, report = keep_consistent(table)
    assert len(kept) == len(table) > 10
    assert report.dropped == 0


def test_maps_are_written_beside_the_table(bench: Any, tmp_path: Any) -> None:
    import tifffile

    patterns, _ = bench.crystal_scan((3, 4))
    table = run(bench.as_scan(patterns)).table
    names = [path.name for path in save_maps(table, tmp_path / "scan.parquet")]
    assert names == [f"scan-{n}.tif" for n in ("count", "intensity", "prominence", "noise")]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / names[0]), table.count_map())


def test_matching_trusts_a_peak_as_far_as_it_stands_out(bench: Any) -> None:
    from dataclasses import replace
    from types import SimpleNamespace

    import torch

    from napari_diffmap.methods.orientation.method import peaks_of_block

    patterns, _ = bench.crystal_scan((1, 2))
    known = Calibration((31.5, 31.5), 0.02, center_origin="file", pixel_size_origin="file")
    table = run(bench.as_scan(patterns, known)).table
    limits = SimpleNamespace(q_min=0.1, q_max=2.0)
    block = (slice(0, 1), slice(0, 2), limits, torch.device("cpu"))
    peaks = peaks_of_block(table, *block)
    snr = np.sort(table.snr[table.rows_at(0, 0)])[::-1]
    np.testing.assert_allclose(peaks.trust[0, : len(snr)], snr**2 / (snr**2 + 49), rtol=1e-5)
    judged = peaks_of_block(replace(table, snr=None), *block)
    assert set(judged.trust[judged.intensity > 0].tolist()) == {1.0}
