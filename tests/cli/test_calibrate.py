"""``calibrate`` and ``orient --calibration`` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_diffmap.cli import run
from napari_diffmap.cli.settings import CALIBRATE, parameter_table, parse_model, settable
from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.calibration import PARTS, CalibrationParameters
from napari_diffmap.methods.calibration.measure import shells_of
from napari_diffmap.methods.calibration.parameters import GIVEN_ELSEWHERE
from napari_diffmap.scan.calibration_file import load_calibration

DOCS = Path(__file__).resolve().parents[2] / "docs"
PIXEL = 0.024


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory):
    """Random spots on the rings of gold about (46, 49.5)."""
    rng = np.random.default_rng(1)
    shells = shells_of(load_phase("Au"), 1.0)
    y, x = np.mgrid[:96, :96]
    frames = np.empty((7, 7, 96, 96), np.uint16)
    for i, j in np.ndindex(7, 7):
        image = 0.5 + 3000 * np.exp(-0.5 * ((y - 46.0) ** 2 + (x - 49.5) ** 2) / 4)
        q = rng.choice(shells.lengths, 10, p=shells.weight / shells.weight.sum()) / PIXEL
        turn = rng.uniform(0, 2 * np.pi, 10)
        for cy, cx in zip(46 + q * np.sin(turn), 49.5 + q * np.cos(turn), strict=True):
            image += 60 * np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / 1.3)
        frames[i, j] = rng.poisson(image)
    path = tmp_path_factory.mktemp("scan") / "gold.npy"
    np.save(path, frames)
    return path


def diffmap(*arguments: object) -> int:
    return run([str(a) for a in arguments], lambda *_, **__: None)


def test_a_calibration_is_fitted_written_and_used(scan_file, tmp_path, capsys):
    out = tmp_path / "calibration.json"
    status = diffmap(
        "calibrate", scan_file, "--phase", "Au", "--pixel-size", 0.037, "--out", out
    )  # fmt: skip
    said = capsys.readouterr()
    assert status == 0
    lines = said.out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("center: 4")
    assert "(before: 0.037 1/Å); median" in lines[1]
    assert lines[-1] == f"fitted center, pixel size, ellipse; {out}"
    assert "rotation needs a scan of 8 × 8" in said.err
    found = load_calibration(out)
    assert found.pixel_size == pytest.approx(PIXEL, rel=0.003)
    assert found.center == pytest.approx((46.0, 49.5), abs=0.1)
    folder = tmp_path / "map"
    status = diffmap(
        "orient", scan_file, "--phase", "Au", "--voltage", 200, "--calibration", out,
        "--set", "zone_step_deg=8", "--device", "cpu", "--out", folder, "--json",
    )  # fmt: skip
    assert status == 0
    used = json.loads(capsys.readouterr().out)["used"]
    assert used["pixel_size"] == found.pixel_size
    assert used["calibration"]["ellipse"]["origin"] == "measured"
    assert used["calibration"]["pixel_size"]["residual"].startswith("median")


def test_json_says_everything(scan_file, capsys):
    status = diffmap("calibrate", scan_file, "--fit", "center", "--json")
    assert status == 0
    record = json.loads(capsys.readouterr().out)
    assert record["parts"][0]["part"] == "center"
    assert record["calibration"]["center"]["origin"] == "measured"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fit", "colour"], "--fit colour: 'colour' is none of center, pixel-size"),
        (["--fit", "pixel-size"], "needs a known phase"),
        (["--phase", "nothing"], "nothing"),
        (["--set", "beam=sideways"], "--set beam: give one of auto, direct, inversion"),
        (["--set", "phase=Au"], "give it with --phase"),
        (["--set", "size=3"], "NAME of beam, descan_order"),
        (["--phase", "Si", "--pixel-size", "0.02", "--fit", "pixel-size"], "nothing is written"),
        (["--fit", "center", "--out", "/nowhere/at/all.json"], "cannot write"),
    ],
)
def test_complaints_are_lines_that_say_what_to_do(scan_file, options, said, capsys):
    assert diffmap("calibrate", scan_file, *options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_broken_calibration_file_is_refused(scan_file, tmp_path, capsys):
    bad = tmp_path / "c.json"
    bad.write_text("{}")
    status = diffmap(
        "orient", scan_file, "--phase", "Au", "--calibration", bad, "--out", tmp_path / "o"
    )
    assert status == 2
    assert "c.json is no calibration" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_settings_are_those_of_the_model():
    assert dict(settable(CALIBRATE)).keys() == CalibrationParameters.model_fields.keys() - (
        GIVEN_ELSEWHERE
    )
    assert set(CALIBRATE.own) == GIVEN_ELSEWHERE
    found = parse_model(("descan_order=1", "inner_radius=null"), CALIBRATE, phase="Au")
    assert found == CalibrationParameters(descan_order="1", phase="Au")
    with pytest.raises(BadInputError, match="scale_factor"):
        parse_model(("scale_factor=9",), CALIBRATE)


def test_the_documentation_has_the_table_of_the_model():
    documented = (DOCS / "cli.md").read_text("utf-8")
    table = parameter_table(CALIBRATE)
    assert table in documented, "put this into docs/cli.md:\n" + table
    for part in PARTS:
        assert f"`{part}`" in documented
