"""The finished map: step and unit, what was used, what the user must see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.jobs.pipeline import run_method
from napari_diffmap.maps import OrientationMap
from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters, assemble
from napari_diffmap.methods.orientation.result import scan_step
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.scan import Scan

Run = tuple[Scan, OrientationMethod, OrientationMap, np.ndarray]


@pytest.fixture(scope="module")
def mapped(bench: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    q = bench.random_rotations(12, 2)
    images = bench.counted(bench.draw(load_phase("LiNiO2"), q)).reshape(3, 4, *bench.shape)
    source = tmp_path_factory.mktemp("scan") / "scan.bin"
    source.write_bytes(images.tobytes())
    scan = bench.as_scan(images, source=source, format="raw", warnings=("one frame was cut",))
    phase = replace(load_phase("LiNiO2"), warnings=("a site was mended",))
    method = OrientationMethod(OrientationParameters(n_best=2, q_max=1.3), [phase])
    result = run_method(scan, method)
    assert result.complete
    return scan, method, assemble(scan, result.maps, method, device="cpu, one core"), q


def test_map_holds_the_answers(mapped: Run, bench: Any) -> None:
    _, method, found, q = mapped
    assert found.rotations.shape == (3, 4, 2, 4)
    off = bench.off({"rotations": found.rotations.reshape(12, 2, 4)}, q, method.phases[0])
    assert (off < 3).mean() > 0.9
    assert found.phases == method.phases
    assert (found.step, found.step_unit) == ((2.0, 2.0), "nm")
    assert set(found.extra) == {"spots", "explained", "found", "margin", "crystals"}
    assert (found.extra["spots"] > 4).all()


def test_provenance_repeats_the_run(mapped: Run, bench: Any) -> None:
    scan, method, found, _ = mapped
    kept = found.provenance
    used = kept.parameters["used"]
    assert used["voltage_kv"] == 200
    assert used["pixel_size"] == bench.pixel
    assert (used["q_min"], used["q_max"]) == (0.1, 1.3)
    np.testing.assert_allclose(used["beam_plane"][0], bench.center, atol=0.4)
    assert used["bad_pixels"] == 0
    assert used["intensities"] == str(method.search.intensities)
    again = {k: v for k, v in kept.parameters.items() if k in OrientationParameters.model_fields}
    assert OrientationParameters(**{**again, "phases": ()}) == method.parameters
    assert again["phases"] == ["LiNiO2"]
    assert kept.parameters["calibration"] == scan.calibration.summary()
    assert kept.device == "cpu, one core"
    names = [Path(entry.path).name for entry in kept.inputs]
    assert names == ["scan.bin", "LiNiO2.cif"]
    assert list(kept.notes) == ["one frame was cut", "LiNiO2: a site was mended"]


def test_map_of_a_run_that_never_began(mapped: Run) -> None:
    """Fill values alone are a map without an answer."""
    scan, method, *_ = mapped
    idle = OrientationMethod(method.parameters, method.phases)
    empty = {spec.name: spec.empty((3, 4)) for spec in idle.maps()}
    for name in ("spots", "margin"):
        del empty[name]
    found = assemble(scan, empty, idle)
    assert (found.phase_ids == -1).all()
    assert (found.ambiguity == 6).all()
    assert set(found.extra) == {"explained", "found", "crystals"}
    assert "used" not in found.provenance.parameters


@pytest.mark.parametrize(
    ("y", "x", "step", "unit"),
    [
        (Axis("y", 3, 2.0, 0, "nm"), Axis("x", 4, 5.0, 0, "nm"), (2.0, 5.0), "nm"),
        (Axis("y", 3, 0.5, 0, "µm"), Axis("x", 4, -7.0, 0, "Å"), (500.0, 0.7), "nm"),
        (Axis("y", 3), Axis("x", 4), (1.0, 1.0), "pixel"),
        # Half a calibration is none.
        (Axis("y", 3, 2.0, 0, "nm"), Axis("x", 4), (1.0, 1.0), "pixel"),
    ],
)
def test_step_is_in_nanometres_or_pixels(
    mapped: Run, y: Axis, x: Axis, step: tuple[float, float], unit: str
) -> None:
    scan = mapped[0]
    found, found_unit = scan_step(replace(scan, axes=(y, x, *scan.axes[2:])))
    assert found == pytest.approx(step)
    assert found_unit == unit
