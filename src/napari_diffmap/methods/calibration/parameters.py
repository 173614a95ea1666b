"""Parameters of the calibration; the form, the options and the recipe come from them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

#: What can be fitted, in the order in which it is.
PARTS = ("center", "pixel-size", "ellipse", "rotation")

#: Fields that the user gives beside the form, not among the settings.
GIVEN_ELSEWHERE = frozenset({"phase"})


class CalibrationParameters(BaseModel):
    """How centre, pixel size, ellipse and rotation are fitted.

    Attributes carry their own title, description (with unit) and bounds.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    phase: str = Field(
        default="",
        title="Known phase",
        description="Phase whose lattice is known: a CIF file or the name of a bundled one.",
    )
    beam: Literal["auto", "direct", "inversion"] = Field(
        default="auto",
        title="Direct beam",
        description="How each pattern's beam is measured: direct, the centre of mass of the beam;"
        " inversion, the centre of symmetry of the whole pattern (Friedel pairs, background),"
        " for a beam that is saturated or behind a stop; auto chooses.",
    )
    descan_order: Literal["auto", "0", "1", "2"] = Field(
        default="auto",
        title="Beam drift",
        description="Order of the polynomial that the beam follows over the scan: 0 stands"
        " still, 1 is a plane, 2 a paraboloid; auto takes what the patterns support.",
    )
    features: Literal["auto", "spots", "rings"] = Field(
        default="auto",
        title="Compared",
        description="What is compared with the known phase: the spots of single patterns, or the"
        " rings of their mean (fine polycrystals); auto takes rings where there are no spots.",
    )
    scale_factor: float = Field(
        default=2.0,
        title="Search factor",
        description="The stated pixel size may be wrong by this factor, larger or smaller.",
        ge=1.02,
        le=4,
    )
    patterns: int = Field(
        default=256,
        title="Patterns used",
        description="About so many patterns, spread over the scan, are looked at.",
        ge=1,
        le=10000,
    )
    spot_threshold: float = Field(
        default=5.0,
        title="Spot threshold",
        description="How many times the noise a spot must stand out to be used.",
        ge=2,
        le=50,
    )
    inner_radius: float | None = Field(
        default=None,
        title="Inner radius",
        description="Spots nearer to the direct beam than this are not used, in pixels; empty:"
        " two and a half radii of the beam.",
        gt=0,
        le=1000,
        json_schema_extra={"unit": "pixel"},
    )
