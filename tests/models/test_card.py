"""Cards: what they refuse, what they say of a scan, and that JSON gives them back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_diffmap.models.card import ModelCard, NetworkSpec

FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = (
    st.integers(-(2**40), 2**40)
    | FINITE
    | st.booleans()
    | st.sampled_from(["", "gelu", "1", "2.5", "true"])
    | st.lists(st.integers(-9, 9), max_size=3).map(tuple)
)


@settings(deadline=None)
@given(
    options=st.dictionaries(st.sampled_from("abcd"), VALUES),
    ends=st.tuples(*[st.floats(0, 1e6)] * 2),
    calibration=st.dictionaries(st.sampled_from("tuv"), FINITE),
    seed=st.integers(-(2**63), 2**63),
)
def test_json_gives_the_card_back(make_card, options, ends, calibration, seed):
    card = make_card(
        network=NetworkSpec(family="resnet", options=options),
        dose=tuple(sorted(ends)),
        calibration=calibration,
        seed=seed,
    )
    again = ModelCard.model_validate_json(card.model_dump_json())
    assert again == card
    # 1, 1.0 and True are equal, but not the same to a builder.
    kinds = {name: type(value) for name, value in options.items()}
    assert {name: type(value) for name, value in again.network.options.items()} == kinds


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Big Letters"},
        {"name": "../up"},
        {"name": "-x"},
        {"name": "x\n"},
        {"title": "two\nlines"},
        {"limits": ("\x1b[2J wiped",)},
        {"format": 2},
        {"task": "strain"},
        {"phases": ()},
        {"voltage_kv": (300, 200)},
        {"voltage_kv": (200,)},
        {"dose": (0, float("inf"))},
        {"q_max": float("nan")},
        {"pixel_size": (-0.01, 0.01)},
        {"checksum": "abc"},
        {"accuracy": ({"dataset": "held out", "within_3deg": 91},)},
        {"colour": "blue"},
    ],
)
def test_what_cannot_be_is_refused(make_card, wrong):
    with pytest.raises(ValidationError) as caught:
        make_card(**wrong)
    assert next(iter(wrong)) in {error["loc"][0] for error in caught.value.errors()}


def test_a_card_does_not_change(make_card):
    with pytest.raises(ValidationError, match="frozen"):
        make_card().seed = 4


def test_a_scan_like_the_training_is_covered(make_card):
    card = make_card()
    inside = {"voltage_kv": 200.0, "precession_deg": 0.0, "pixel_size": 0.01, "dose": 300.0}
    assert card.covers(**inside, thickness_nm=30, phases=["NiO"]) == []
    assert card.covers() == []
    # Files say 199.9 for 200.
    assert card.covers(voltage_kv=199.9) == []


@pytest.mark.parametrize(
    ("scan", "says"),
    [
        ({"voltage_kv": 80}, "voltage 80 kV is outside the 200–300 kV it was trained for"),
        ({"voltage_kv": 301}, "voltage 301 kV"),
        ({"precession_deg": 0.5}, "precession 0.5° is outside the 0° it"),
        ({"pixel_size": 0.05}, "pixel size 0.05 1/Å"),
        ({"thickness_nm": 100}, "thickness 100 nm"),
        ({"dose": 2e6}, "dose 2,000,000 electrons per pattern"),
        ({"phases": ["NiO", "Ni", "Si"]}, "Ni, Si is unknown to it: it was trained for LiNiO2, N"),
    ],
)
def test_a_scan_outside_is_told_in_a_line(make_card, scan, says):
    (reason,) = make_card().covers(**scan)
    assert says in reason
    assert "\n" not in reason


def test_every_reason_is_told(make_card):
    assert len(make_card().covers(voltage_kv=80, pixel_size=1, precession_deg=2)) == 3


def test_the_description_has_what_was_measured_and_no_recipe(make_card):
    text = make_card(checksum="ab" * 32).describe()
    lines = text.splitlines()
    assert lines[0] == "LiNiO2 and NiO (linio2-small 1)"
    for part in (
        "held out (5,000 patterns): 91.0 % within 3°, median 0.42°",
        "measured, refined: 80.0 % up to the twin",
        "412 patterns/s on cpu",
        "200–300 kV",
        "NiO (Ni O), 225, 4.177, 4.177, 4.177 Å, 90, 90, 90°",
        "2,000,000 patterns in 1.5 h on one GPU, seed 3",
        "temperature 1.3",
        "one crystal in a pattern",
        "ab" * 32,
    ):
        assert part in text
    assert "steps" not in text
    assert "_cell_length_a" not in text
    assert "not measured" in make_card(accuracy=({"dataset": "none"},)).describe()
