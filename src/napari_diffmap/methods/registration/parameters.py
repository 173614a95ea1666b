"""Parameters of the peak registration; the form, the options and the record come from them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


class RegistrationParameters(BaseModel):
    """How diffraction spots are found and measured.

    A value of None means *choose it for me*.  Lengths are detector pixels, so no
    calibration is needed.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    false_spots: float = Field(
        default=0.1,
        title="False spots",
        description="Spots per pattern that noise alone may give: fewer false ones cost faint"
        " true ones.  The one knob of the adaptive finder.",
        ge=0.0001,
        le=50,
        json_schema_extra={"unit": "per pattern"},
    )
    preset: Literal["adaptive", "ePattern"] = Field(
        default="adaptive",
        title="Recipe",
        description="adaptive: threshold from the noise and the false spots accepted, centres by"
        " maximum likelihood; ePattern: the recipe published by Folastre et al. (2024), which"
        " has no such knob and is slow.",
    )
    neighbours: bool = Field(
        default=False,
        title="Average neighbours",
        description="Average each pattern with its eight neighbours on the scan first: finds"
        " fainter spots, blurs fine grains.",
    )
    inner: float | None = Field(
        default=None,
        title="Inner limit",
        description="Nothing nearer to the direct beam than this is a spot, in pixels; empty:"
        " twice the radius of the direct beam and two pixels.",
        ge=0,
        le=4096,
        json_schema_extra={"unit": "pixel"},
    )
    outer: float | None = Field(
        default=None,
        title="Outer limit",
        description="Nothing farther from the direct beam than this is a spot, in pixels; empty:"
        " the whole detector.",
        gt=0,
        le=16384,
        json_schema_extra={"unit": "pixel"},
    )
    spot_radius: float | None = Field(
        default=None,
        title="Spot radius",
        description="Radius of a diffraction spot or disk in detector pixels; empty: measured"
        " on the clearest spots.",
        gt=0,
        le=64,
        json_schema_extra={"unit": "pixel"},
    )
    background: Literal["radial", "none"] = Field(
        default="radial",
        title="Background",
        description="What is subtracted before spots are sought: the typical value of each ring"
        " about the beam (spots clipped away), or nothing.",
        json_schema_extra={"advanced": True},
    )
    hot_pixels: bool = Field(
        default=True,
        title="Remove hot pixels",
        description="Replace single pixels that stand far above their neighbours.",
        json_schema_extra={"advanced": True},
    )
    most: int = Field(
        default=150,
        title="Most spots",
        description="Spots kept of a pattern, most significant first.",
        ge=1,
        le=2000,
        json_schema_extra={"advanced": True},
    )

    @field_validator("inner", "outer")
    @classmethod
    def _limits_in_order(cls, value: float | None, info: ValidationInfo) -> float | None:
        """A validator of the fields: one of the model would keep a refused assignment."""
        limits = {**info.data, str(info.field_name): value}
        inner, outer = limits.get("inner"), limits.get("outer")
        if inner is not None and outer is not None and outer <= inner:
            raise ValueError(
                f"the outer limit {outer:g} pixels must lie beyond the inner {inner:g} pixels"
            )
        return value
