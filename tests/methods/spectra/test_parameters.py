"""Parameters: bounds, words and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from napari_diffmap.methods.spectra.parameters import (
    METHOD_WORDS,
    METHODS,
    SpectralParameters,
)


@pytest.mark.parametrize(
    "values",
    [
        {"method": "guess"},
        {"energies": [710.0]},
        {"energies": [710.0, 710.0]},
        {"energies": [710.0, float("nan")]},
        {"pair": (710.0, 710.0)},
        {"composition_range": (3.0, 1.0)},
        {"certainty": 1.0},
        {"significance": 0.0},
        {"smallest": 0},
        {"clusters": 1},
        {"epochs": 0},
        {"colour": "red"},
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SpectralParameters(**values)
    name, value = next(iter(values.items()))
    if name in SpectralParameters.model_fields:
        with pytest.raises(ValidationError):
            setattr(SpectralParameters(), name, value)


def test_every_parameter_explains_itself() -> None:
    for name, field in SpectralParameters.model_fields.items():
        assert field.title, name
        assert len(field.description or "") > 20, name
    assert set(METHOD_WORDS) == set(METHODS)
    assert METHODS[0] == SpectralParameters().method


def test_they_survive_a_file() -> None:
    one = SpectralParameters(method="nnls", energies=(708.2, 710.2), composition_range=(0, 1))
    assert SpectralParameters(**one.model_dump(mode="json")) == one
