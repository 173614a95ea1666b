"""``peaks``: table, maps, summary and complaints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_diffmap.cli import run
from napari_diffmap.cli.settings import REGISTER, parameter_table
from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.peak_file import load_peaks

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def command(*arguments: object) -> int:
    return run([str(argument) for argument in arguments], lambda *_, **__: None)


@pytest.fixture
def crystal(tmp_path):
    """A square lattice of spots on a flat background, 5 × 6 patterns of 64 × 64."""
    rng = np.random.default_rng(0)
    y, x = np.indices((64, 64))
    image = 1 + 300 * np.exp(-0.5 * ((y - 31.5) ** 2 + (x - 31.5) ** 2) / 1.6**2)
    for h in (-2, -1, 0, 1, 2):
        for k in (-2, -1, 0, 1, 2):
            if h or k:
                cy, cx = 31.5 + 11.4 * h + 2.1 * k, 31.5 + 11.4 * k - 2.1 * h
                image += 80 * np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / 1.2**2)
    path = tmp_path / "crystal.npy"
    np.save(path, rng.poisson(image, (5, 6, 64, 64)).astype(np.uint16))
    return path


@pytest.mark.parametrize("kind", ["parquet", "zarr"])
def test_a_table_and_one_line(kind, crystal, tmp_path, capsys):
    out = tmp_path / f"peaks.{kind}"
    assert command("peaks", crystal, "--device", "cpu", "--out", out) == 0
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert line.startswith("30 patterns, ")
    assert "times smaller than the patterns" in line
    table = load_peaks(out)
    assert table.count_map().min() >= 22
    assert not table.calibrated
    assert open_scan(out).peaks is not None


def test_json_tells_what_was_done(crystal, tmp_path, capsys):
    out = tmp_path / "peaks.parquet"
    status = command(
        "peaks", crystal, "--device", "cpu", "--false-spots", 0.5, "--pixel-size", 0.02,
        "--consistent", "--maps", "--set", "spot_radius=1.6", "--out", out, "--json",
    )  # fmt: skip
    assert status == 0
    record = json.loads(capsys.readouterr().out)
    table = load_peaks(out)
    assert record["patterns"] == 30
    assert record["spots"] == len(table)
    assert record["bytes"] == out.stat().st_size
    raw = 5 * 6 * 64 * 64 * 2
    assert record["compression"] == pytest.approx(raw / out.stat().st_size, abs=0.01)
    assert record["parameters"]["false_spots"] == 0.5
    assert record["used"]["spot_sigma"] == pytest.approx(1.2)
    assert record["complete"]
    assert record["dropped"] >= 0
    assert table.calibrated
    assert np.hypot(table.ky, table.kx).min() > 0.1
    for name in record["files"]:
        assert tifffile.imread(tmp_path / name).shape == (5, 6)
        assert f"`{name.replace('peaks', 'TABLE')}`" in DOCS.read_text("utf-8")


def test_orientations_are_matched_on_the_table(tmp_path, capsys):
    """Registered once, mapped from the table alone: the same answers."""
    from napari_diffmap.crystal.sample import sample_scan
    from napari_diffmap.maps import load_map
    from napari_diffmap.maps.quaternions import disorientation, laue_operators
    from napari_diffmap.scan.axes import Axis
    from napari_diffmap.scan.open import save_scan
    from napari_diffmap.scan.scan import Scan

    scan, _ = sample_scan()
    axes = (Axis("y", 6, 2.0, 0.0, "nm"), Axis("x", 6, 2.0, 0.0, "nm"), *scan.axes[2:])
    corner = Scan(scan.data[46:52, 12:18], axes, "4D-STEM", "corner", calibration=scan.calibration)
    file = save_scan(corner, tmp_path / "corner.hspy")
    table = tmp_path / "corner.parquet"
    assert command("peaks", file, "--device", "cpu", "--out", table) == 0
    found = []
    for source in (file, table):
        out = tmp_path / f"map-{source.suffix[1:]}"
        arguments = ("orient", source, "--phase", "LiNiO2", "--device", "cpu", "--out", out)
        assert command(*arguments) == 0, capsys.readouterr().err
        found.append(load_map(out / "orientation.h5"))
    a, b = (np.asarray(map_.rotations, dtype=float)[:, :, 0].reshape(-1, 4) for map_ in found)
    angle = disorientation(a, b, laue_operators(found[0].phases[0]))
    assert np.mean(angle < 3) > 0.8


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--out", "peaks.csv"], ".parquet or .zarr"),
        (["--out", "nowhere/peaks.parquet"], "there is no folder"),
        (["--false-spots", "0"], "--false-spots: give a number from 0.0001 to 50 per pattern"),
        (["--preset", "magic"], "'magic' is not one of 'adaptive', 'ePattern'"),
        (["--set", "false_spots=1"], "give it with --false-spots"),
        (["--set", "outer=2", "--set", "inner=5"], "must lie beyond"),
        (["--set", "inner=500"], "lower the inner limit"),
        (["--device", "abacus"], "no device"),
        (["--pixel-size", "40"], "impossible"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    extra, says, crystal, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert command("peaks", crystal, "--out", "peaks.parquet", *extra) == 2
    *warnings, line = capsys.readouterr().err.strip().splitlines()
    assert says in line
    assert all(warning.startswith("warning: ") for warning in warnings)
    assert [path.name for path in tmp_path.iterdir()] == ["crystal.npy"]


def test_a_stopped_run_writes_what_it_found(crystal, tmp_path, monkeypatch, capsys):
    import signal

    from napari_diffmap.cli.terminal import ProgressLine

    def press(_self, progress):
        if progress.message == "registering":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ProgressLine, "__call__", press)
    out = tmp_path / "peaks.parquet"
    assert command("peaks", crystal, "--device", "cpu", "--out", out, "--json") == 1
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert not record["complete"]
    assert 0 < record["patterns"] < 30
    assert captured.err.strip().splitlines()[-1].startswith("napari-diffmap: stopped")
    scan = open_scan(out)
    assert scan.missing.sum() == 30 - record["patterns"]


def test_the_documentation_has_the_table_of_the_model():
    table = parameter_table(REGISTER)
    assert table in DOCS.read_text("utf-8"), "put this into docs/cli.md:\n" + table


def test_measured_patterns(shared_data, tmp_path, capsys):
    """A cathode particle of 80 × 58 patterns, drawn in bytes from measured Bragg disks."""
    file = shared_data / "cathode_particle" / "rendered_80x58x128x128_uint8.h5"
    truth = open_scan(shared_data / "cathode_particle" / "braggdisks_cali.h5").peaks
    out = tmp_path / "peaks.parquet"
    assert command("peaks", file, "--device", "cpu", "--out", out, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["patterns"] == 80 * 58
    # A sixteenth of the pixels of a 512-pixel camera, in bytes: 1000 there is 60 here.
    assert record["compression"] > 60
    table = load_peaks(out)
    gaps = []
    for y, x in ((40, 30), (20, 20), (60, 40)):
        measured, known = table.at(y, x), truth.at(y, x)
        known = known[known[:, 2] > np.quantile(known[:, 2], 0.5)]
        far = np.hypot(known[:, 0], known[:, 1])
        known = known[(far > 0.2) & (far < 1.2)]
        gaps += [np.hypot(measured[:, 0] - ky, measured[:, 1] - kx).min() for ky, kx, _ in known]
    assert np.median(gaps) < 0.6 * table.source.scale
