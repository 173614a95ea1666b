"""A card like that of a real model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from napari_diffmap.models.card import Accuracy, ModelCard, NetworkSpec, PhaseNote, Speed

RECORD: dict[str, Any] = {
    "name": "linio2-small",
    "title": "LiNiO2 and NiO",
    "version": "1",
    "task": "orientation",
    "network": NetworkSpec(family="vit", options={"depth": 4, "grid": (8, 16), "drop": 0.0}),
    "phases": (
        PhaseNote(
            name="LiNiO2",
            space_group="R-3m",
            cell=(2.878, 2.878, 14.19, 90, 90, 120),
            cif="data_LiNiO2\n_cell_length_a 2.878\n",
        ),
        PhaseNote(name="NiO", formula="Ni O", space_group=225, cell=(4.177,) * 3 + (90,) * 3),
    ),
    "voltage_kv": (200, 300),
    "thickness_nm": (5, 60),
    "precession_deg": (0, 0),
    "dose": (300, 1e5),
    "q_min": 0.1,
    "q_max": 1.2,
    "pixel_size": (0.008, 0.02),
    "trained_on": "simulated, Bloch waves",
    "recipe": "seed: 3\nsteps: 100\n",
    "seed": 3,
    "patterns_seen": 2_000_000,
    "trained_seconds": 5400.0,
    "trained_device": "one GPU",
    "date": "2026-11-22",
    "project_version": "0.1.0",
    "accuracy": (
        Accuracy(dataset="held out", patterns=5000, within_3deg=0.91, median_deg=0.42),
        Accuracy(dataset="measured", within_3deg_up_to_twin=0.8, polished=True),
    ),
    "speed": (Speed(device="cpu", patterns_per_second=412.0),),
    "limits": ("one crystal in a pattern",),
    "calibration": {"temperature": 1.3},
    "licence": "CC-BY-4.0",
}


@pytest.fixture(scope="session")
def make_card() -> Callable[..., ModelCard]:
    """A card with some values changed; they are checked."""
    return lambda **changed: ModelCard(**(RECORD | changed))
