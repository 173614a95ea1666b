"""Parameters: bounds, order of the limits, what a recipe stores, what a form shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_diffmap.methods.orientation import OrientationParameters

FIELDS = OrientationParameters.model_fields


def bounds(name: str) -> dict[str, float]:
    """Numeric bounds of a field, from its JSON schema."""
    schema: dict[str, Any] = OrientationParameters.model_json_schema()["properties"][name]
    for part in (schema, *schema.get("anyOf", ())):
        found = {
            key: part[key]
            for key in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
            if key in part
        }
        if found:
            return found
    return {}


NUMBERS = [name for name in FIELDS if bounds(name)]


def test_every_number_is_bounded_on_both_sides() -> None:
    free = {"phases", "center", "descan", "background", "engine", "hot_pixels", "refine"}
    free |= {"intensities", "spatial"}
    assert set(FIELDS) - set(NUMBERS) == free
    for name in NUMBERS:
        assert len(bounds(name)) == 2, name


@pytest.mark.parametrize("name", NUMBERS)
def test_values_beyond_the_bounds_are_refused(name: str) -> None:
    limit = bounds(name)
    low = limit.get("minimum", limit.get("exclusiveMinimum"))
    high = limit.get("maximum", limit.get("exclusiveMaximum"))
    assert low is not None
    assert high is not None
    whole = FIELDS[name].annotation is int
    step = 1 if whole else 1e-6
    for value in (low - step, high + step, -1e9, 1e12, float("nan"), float("inf"), "many"):
        with pytest.raises(ValidationError) as caught:
            OrientationParameters(**{name: value})
        # One complaint, of this field, in one line.
        (only,) = caught.value.errors()
        assert only["loc"] == (name,)
        assert "\n" not in only["msg"]
    inside = 0.5 * (low + high)
    assert getattr(OrientationParameters(**{name: int(inside) if whole else inside}), name)


@pytest.mark.parametrize(
    "values",
    [
        {"descan": "sideways"},
        {"background": "median"},
        {"center": (float("nan"), 3.0)},
        {"center": (3.0, float("inf"))},
        {"center": (3.0,)},
        {"phases": 3},
        {"voltage": 200},
    ],
)
def test_nonsense_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OrientationParameters(**values)


def test_limits_must_be_in_order() -> None:
    with pytest.raises(ValidationError, match=r"outer limit 0.2 1/Å must lie beyond the inner 0.3"):
        OrientationParameters(q_min=0.3, q_max=0.2)
    with pytest.raises(ValidationError, match="must lie beyond"):
        OrientationParameters(q_min=0.3, q_max=0.3)
    assert OrientationParameters(q_min=0.3, q_max=0.4).q_max == 0.4


@pytest.mark.parametrize(("name", "value"), [("q_max", 0.05), ("q_min", 1.5), ("n_best", 0)])
def test_a_refused_assignment_changes_nothing(name: str, value: float) -> None:
    parameters = OrientationParameters(q_min=0.1, q_max=1.0)
    before = parameters.model_dump()
    with pytest.raises(ValidationError):
        setattr(parameters, name, value)
    assert parameters.model_dump() == before
    parameters.q_max = None
    parameters.q_min = 1.5
    assert (parameters.q_min, parameters.q_max) == (1.5, None)


def test_one_phase_needs_no_brackets() -> None:
    assert OrientationParameters(phases="LiNiO2").phases == ("LiNiO2",)  # type: ignore[arg-type]
    assert OrientationParameters(phases=["NiO", "Si"]).phases == ("NiO", "Si")  # type: ignore[arg-type]


@given(
    st.fixed_dictionaries(
        {
            "voltage_kv": st.none() | st.floats(1, 3000),
            "center": st.none() | st.tuples(st.floats(0, 512), st.floats(0, 512)),
            "q_min": st.floats(0, 0.9),
            "q_max": st.none() | st.floats(1, 10),
            "descan": st.sampled_from(["plane", "pattern", "none"]),
            "n_best": st.integers(1, 10),
            "refine": st.booleans(),
            "phases": st.lists(st.text(min_size=1), max_size=3).map(tuple),
        }
    )
)
def test_a_recipe_gives_them_back(values: dict[str, Any]) -> None:
    parameters = OrientationParameters(**values)
    assert OrientationParameters.model_validate_json(parameters.model_dump_json()) == parameters
    plain = json.loads(json.dumps(parameters.model_dump(mode="json")))
    assert OrientationParameters(**plain) == parameters
    assert {name: getattr(parameters, name) for name in values} == values


def test_defaults_keep_their_own_rules_and_say_what_they_are() -> None:
    defaults = OrientationParameters()
    assert OrientationParameters(**defaults.model_dump()) == defaults
    for name, field in FIELDS.items():
        assert field.title, name
        assert field.description, name
        assert field.description.endswith("."), name
        extra = field.json_schema_extra or {}
        # A quantity with a unit names it in its description too.
        words = {
            "kV": "kV",
            "1/Å": "1/Å",
            "degree": "degree",
            "pixel": "pixel",
            "MB": "MB",
            "nm": "nm",
        }
        if isinstance(extra, dict) and "unit" in extra:
            assert words[str(extra["unit"])] in field.description, name
