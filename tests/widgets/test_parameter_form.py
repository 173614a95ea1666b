from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, model_validator
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QSpinBox

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.networks.domain import Domain
from napari_diffmap.methods.orientation.parameters import GIVEN_ELSEWHERE, OrientationParameters
from napari_diffmap.widgets.parameter_form import ParameterForm, RangeBox


class Example(BaseModel):
    count: int = Field(3, ge=1, le=9, title="Count", description="How many.")
    width: float = Field(
        0.02, ge=0.001, le=1, title="Width", json_schema_extra={"unit": "1/Å"}, description="Wide."
    )
    limit: float | None = Field(None, gt=0, le=10, title="Limit", description="Far.")
    way: Literal["plane", "none"] = Field("plane", title="Way", description="How.")
    on: bool = Field(True, title="On", description="Whether.")
    rare: float = Field(
        1.0, ge=0, le=5, title="Rare", json_schema_extra={"advanced": True}, description="Seldom."
    )

    @model_validator(mode="after")
    def _together(self) -> Example:
        if self.limit is not None and self.limit < self.width:
            raise ValueError("the limit must lie beyond the width")
        return self


@pytest.fixture
def form(qtbot: Any) -> ParameterForm:
    form = ParameterForm(Example)
    qtbot.addWidget(form)
    return form


def test_defaults_come_back_unchanged(form: ParameterForm) -> None:
    assert form.parameters() == Example()


def test_the_matchers_defaults_come_back_unchanged(qtbot: Any) -> None:
    form = ParameterForm(OrientationParameters, skip=GIVEN_ELSEWHERE)
    qtbot.addWidget(form)
    assert form.parameters() == OrientationParameters()


def test_each_type_has_its_control(form: ParameterForm) -> None:
    kinds = {name: type(control) for name, control in form.controls.items()}
    assert kinds == {
        "count": QSpinBox,
        "width": QDoubleSpinBox,
        "limit": QDoubleSpinBox,
        "way": QComboBox,
        "on": QCheckBox,
        "rare": QDoubleSpinBox,
    }
    width = form.controls["width"]
    assert isinstance(width, QDoubleSpinBox)
    assert width.suffix() == " 1/Å"
    assert (width.minimum(), width.maximum()) == (0.001, 1)
    assert all(control.toolTip() for control in form.controls.values())


def test_a_range_has_two_boxes_and_comes_back(qtbot: Any) -> None:
    form = ParameterForm(Domain)
    qtbot.addWidget(form)
    assert form.parameters() == Domain()
    box = form.controls["thickness_nm"]
    assert isinstance(box, RangeBox)
    assert box.high.suffix() == " nm"
    assert "Thickness, nm" in box.low.toolTip()
    assert box.low.minimum() == 0
    dose = form.controls["dose"]
    assert isinstance(dose, RangeBox)
    assert dose.low.minimum() > 0
    with qtbot.waitSignal(form.changed, timeout=1000):
        box.low.setValue(12)
    assert form.parameters() == Domain(thickness_nm=(12, 70))
    form.set_values({"thickness_nm": (90, 70)})
    with pytest.raises(BadInputError, match="runs backwards"):
        form.parameters()


def test_what_is_entered_is_used(form: ParameterForm) -> None:
    form.set_values({"count": 5, "limit": 2.5, "way": "none", "on": False})
    assert form.parameters() == Example(count=5, limit=2.5, way="none", on=False)
    form.set_values({"limit": None})
    assert form.values()["limit"] is None


def test_values_that_disagree_are_one_line(form: ParameterForm) -> None:
    form.set_values({"width": 0.5, "limit": 0.1})
    with pytest.raises(BadInputError, match="beyond the width") as caught:
        form.parameters()
    assert "\n" not in str(caught.value)


def test_rare_settings_are_folded(form: ParameterForm) -> None:
    form.show()
    assert not form.controls["rare"].isVisible()
    form.more.click()
    assert form.controls["rare"].isVisible()


def test_a_change_is_told(qtbot: Any, form: ParameterForm) -> None:
    with qtbot.waitSignal(form.changed, timeout=1000):
        form.set_values({"count": 8})
