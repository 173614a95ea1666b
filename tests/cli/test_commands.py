"""The command line as a user types it: one line out, one line of complaint, exit status."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from napari_diffmap.cli import run


def diffmap(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in its own process."""
    return subprocess.run(
        [sys.executable, "-m", "napari_diffmap", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def scan_file(tmp_path):
    data = np.random.default_rng(0).poisson(3, (6, 5, 16, 16)).astype(np.uint16)
    path = tmp_path / "scan.npy"
    np.save(path, data)
    return path, data


def test_info_answers_in_under_two_seconds(scan_file, within):
    path, _ = scan_file
    diffmap("info", str(path))  # the first run may write byte code
    with within(2.0):
        done = diffmap("info", str(path))
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert "6 × 5 × 16 × 16 uint16" in done.stdout


def test_info_json_holds_axes_and_calibration(scan_file, capsys):
    path, _ = scan_file
    assert run(["info", str(path), "--json"], lambda *_: None) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["shape"] == [6, 5, 16, 16]
    assert [axis["name"] for axis in record["axes"]] == ["y", "x", "ky", "kx"]
    assert record["calibration"]["pixel_size"] is None


def test_virtual_image_equals_numpy(scan_file, tmp_path, capsys):
    path, data = scan_file
    out = tmp_path / "adf.tif"
    status = run(
        ["virtual", str(path), "--annulus", "7.5,7.5,3,6", "--pixels", "--out", str(out)],
        lambda *_: None,
    )
    assert status == 0
    y, x = np.mgrid[:16, :16]
    radius = np.hypot(y - 7.5, x - 7.5)
    expected = (data * ((radius >= 3) & (radius <= 6))).sum(axis=(2, 3))
    np.testing.assert_allclose(tifffile.imread(out), expected)
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["info", "no-such-file.mib"], "no-such-file.mib"),
        (["virtual", "{scan}", "--out", "{out}.tif"], "give one detector"),
        (["virtual", "{scan}", "--disk", "8,8", "--pixels", "--out", "{out}.tif"], "CY,CX,R"),
        (["virtual", "{scan}", "--disk", "8,8,3", "--out", "{out}.tif"], "--pixels"),
        (["virtual", "{scan}", "--disk", "90,8,3", "--pixels", "--out", "{out}.tif"], "no pixel"),
        (["orient", "{scan}", "--phase", "Si", "--out", "{out}"], "voltage"),
        (["orient", "{scan}", "--phase", "Si", "--voltage", "200", "--out", "{out}"], "1/Å"),
        (["orient", "{scan}", "--phase", "Unobtainium", "--out", "{out}"], "Unobtainium"),
        (["orient", "{scan}", "--phase", "Si", "--engine", "magic", "--out", "{out}"], "magic"),
        (["orient", "{scan}", "--phase", "Si", "--voltage", "2e5", "--out", "{out}"], "kV"),
        (
            ["orient", "{scan}", "--phase", "Si", "--set", "zone_step=2", "--out", "{out}"],
            "zone_step_deg",
        ),
        (["orient", "{scan}", "--phase", "Si", "--set", "n_best=0", "--out", "{out}"], "n_best"),
        (["nonsense"], "nonsense"),
        (["info"], "FILE"),
    ],
)
def test_bad_input_is_one_line_and_status_two(arguments, says, scan_file, tmp_path, capsys):
    path, _ = scan_file
    filled = [a.format(scan=path, out=tmp_path / "out") for a in arguments]
    assert run(filled, lambda *_: None) == 2
    captured = capsys.readouterr()
    complaint = captured.err.strip().splitlines()[-1]
    assert complaint.startswith("napari-diffmap: ")
    assert says in complaint
    assert captured.out == ""


def test_a_file_opens_the_window(scan_file):
    path, _ = scan_file
    opened = []
    assert run([str(path)], lambda files, **_: opened.append(tuple(files))) == 0
    assert opened == [(str(path),)]
    assert run([], lambda files, **_: opened.append(tuple(files))) == 0
    assert opened[-1] == ()
