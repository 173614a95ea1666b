"""What a network is trained on: the ranges that simulated patterns are drawn from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from napari_diffmap.models.card import LogRange, Range

_PER_ANGSTROM: JsonDict = {"unit": "1/Å"}


class Domain(BaseModel):
    """Conditions that patterns are simulated under, drawn anew for each.

    Ranges are drawn evenly, those of `dose`, `diffuse` and `dark` evenly in their
    logarithm.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    voltage_kv: float = Field(
        default=200.0,
        title="Voltage",
        ge=20,
        le=1500,
        description="Accelerating voltage, kV.",
        json_schema_extra={"unit": "kV"},
    )
    thickness_nm: Range = Field(
        default=(8.0, 70.0),
        title="Thickness",
        description="Thickness, nm.",
        json_schema_extra={"unit": "nm"},
    )
    dose: LogRange = Field(
        default=(300.0, 100_000.0),
        title="Dose",
        description="Electrons in the diffracted beams of a pattern.",
    )
    diffuse: LogRange = Field(
        default=(1e-3, 0.5),
        title="Diffuse",
        description="Diffuse electrons below a spot at the direct beam, as a share of the dose.",
    )
    falloff: Range = Field(
        default=(0.1, 0.5),
        title="Diffuse width",
        description="Distance in which the diffuse ones fall to 1/e, 1/Å.",
        json_schema_extra=_PER_ANGSTROM,
    )
    dark: LogRange = Field(
        default=(0.1, 10.0),
        title="Dark",
        description="Electrons below one spot everywhere, or noise like theirs.",
    )
    q_min: Range = Field(
        default=(0.08, 0.25),
        title="Inner limit",
        description="Inner limit, 1/Å.",
        json_schema_extra=_PER_ANGSTROM,
    )
    q_max: Range = Field(
        default=(1.1, 1.5),
        title="Outer limit",
        description="Outer limit, 1/Å.",
        json_schema_extra=_PER_ANGSTROM,
    )
    kinematic: float = Field(
        default=0.25,
        title="Kinematic",
        ge=0,
        le=1,
        description="Share of patterns with kinematic intensities of random excitation width,"
        " as of very thin crystals or under precession.",
    )
    sigma: Range = Field(
        default=(0.006, 0.04),
        title="Excitation width",
        description="Excitation width of the kinematic ones, 1/Å.",
        json_schema_extra=_PER_ANGSTROM,
    )
    two_grains: float = Field(
        default=0.2,
        title="Two crystals",
        ge=0,
        le=1,
        description="Share of patterns of two crystals.",
    )
    nothing: float = Field(
        default=0.03,
        title="No crystal",
        ge=0,
        le=1,
        description="Share of patterns whose spots are of no crystal.",
    )
    strange: float = Field(
        default=0.06,
        title="Other crystals",
        ge=0,
        le=1,
        description="Share of patterns of crystals with another cell, to learn what is unknown.",
    )
    scale_error: float = Field(
        default=0.006,
        title="Scale error",
        ge=0,
        le=0.2,
        description="Relative error of the pixel size (sigma).",
    )
    ellipse: float = Field(
        default=0.005,
        title="Ellipse",
        ge=0,
        le=0.2,
        description="Relative stretch of axes (sigma).",
    )
    center_error: float = Field(
        default=0.008,
        title="Centre error",
        ge=0,
        le=1,
        description="Error of the direct beam's place, 1/Å (sigma).",
        json_schema_extra=_PER_ANGSTROM,
    )
    spot_error: float = Field(
        default=0.004,
        title="Spot error",
        ge=0,
        le=1,
        description="Error of a clear spot's place, 1/Å (sigma).",
        json_schema_extra=_PER_ANGSTROM,
    )
    jitter: Range = Field(
        default=(0.0, 0.4),
        title="Jitter",
        description="Spread (sigma of the logarithm) of single intensities.",
    )
    stray_spots: float = Field(
        default=0.4, title="Stray spots", ge=0, le=100, description="Mean number of stray spots."
    )
