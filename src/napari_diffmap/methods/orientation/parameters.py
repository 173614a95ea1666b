"""Parameters of the orientation map; the form, the options and the recipe come from them."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationInfo,
    field_validator,
)

#: Fields that the user gives with the phases and the calibration, not among the settings.
GIVEN_ELSEWHERE = frozenset({"phases", "engine", "voltage_kv", "pixel_size", "center"})
#: The engine that is no network.
TEMPLATES = "templates"


class OrientationParameters(BaseModel):
    """How orientations and phases are matched.

    Attributes carry their own title, description (with unit) and bounds; a
    value of None means *take it from the scan or choose it for me*.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    phases: tuple[str, ...] = Field(
        default=(),
        title="Phases",
        description="What the sample may be: CIF files or names of bundled phases.",
    )
    engine: str = Field(
        default=TEMPLATES,
        title="Engine",
        description="What proposes orientations: the templates of all zone axes, or a network by"
        " its name; the same refinement and ranking follow.",
        min_length=1,
    )
    voltage_kv: float | None = Field(
        default=None,
        title="Voltage",
        description="Accelerating voltage in kV; empty: from the scan's calibration.",
        ge=1,
        le=3000,
        json_schema_extra={"unit": "kV"},
    )
    pixel_size: float | None = Field(
        default=None,
        title="Pixel size",
        description="Detector pixel in 1/Å (without 2π); empty: from the scan's calibration.",
        gt=0,
        lt=10,
        json_schema_extra={"unit": "1/Å"},
    )
    center: tuple[FiniteFloat, FiniteFloat] | None = Field(
        default=None,
        title="Centre",
        description="Direct beam (row, column) in detector pixels; empty: from the scan's"
        " calibration.",
        json_schema_extra={"unit": "pixel"},
    )
    descan: Literal["plane", "pattern", "none"] = Field(
        default="plane",
        title="Beam drift",
        description="How the direct beam's drift over the scan is followed: a plane fitted to"
        " it (robust), each pattern by itself, or not at all.",
    )
    q_min: float = Field(
        default=0.1,
        title="Inner limit",
        description="Nothing nearer to the direct beam than this is used, in 1/Å.",
        ge=0,
        le=5,
        json_schema_extra={"unit": "1/Å"},
    )
    q_max: float | None = Field(
        default=None,
        title="Outer limit",
        description="Nothing farther out than this is used, in 1/Å; empty: the largest circle"
        " that fits the detector.",
        gt=0,
        le=10,
        json_schema_extra={"unit": "1/Å"},
    )
    sigma_excitation: float = Field(
        default=0.03,
        title="Excitation width",
        description="Width of the accepted excitation error (Gaussian sigma) in 1/Å: small for"
        " thick crystals, large for thin ones.",
        ge=0.001,
        le=0.2,
        json_schema_extra={"unit": "1/Å"},
    )
    intensities: Literal["measured", "dynamical", "kinematic"] = Field(
        default="measured",
        title="Intensity model",
        description="How intensities follow the tilt: dynamical (two-beam theory, most crystals),"
        " kinematic (very thin ones), or whichever explains some of the patterns better.",
        json_schema_extra={"advanced": True},
    )
    thickness_nm: float = Field(
        default=35.0,
        title="Thickness",
        description="Typical thickness of the crystals in nm; a factor of three either way matters"
        " little.",
        gt=0,
        le=1000,
        json_schema_extra={"unit": "nm", "advanced": True},
    )
    precession_deg: float = Field(
        default=0.0,
        title="Precession",
        description="Precession angle in degrees; it widens the accepted excitation error.",
        ge=0,
        le=5,
        json_schema_extra={"unit": "degree"},
    )
    zone_step_deg: float = Field(
        default=3.0,
        title="Zone-axis step",
        description="Angle between neighbouring zone axes of the library, in degrees.",
        ge=0.5,
        le=10,
        json_schema_extra={"unit": "degree"},
    )
    in_plane_step_deg: float = Field(
        default=4.0,
        title="In-plane step",
        description="Angular sampling of the polar patterns, in degrees; the answer is refined"
        " between the samples.",
        ge=0.5,
        le=10,
        json_schema_extra={"unit": "degree", "advanced": True},
    )
    radial_bins: int = Field(
        default=32,
        title="Radial bins",
        description="Rings of the polar pattern between the inner and the outer limit.",
        ge=8,
        le=256,
        json_schema_extra={"advanced": True},
    )
    intensity_power: float = Field(
        default=0.1,
        title="Intensity power",
        description="Exponent put on measured and simulated intensities: 1 trusts them, 0 asks"
        " only where spots are.",
        ge=0,
        le=1,
        json_schema_extra={"advanced": True},
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
    )
    hot_pixels: bool = Field(
        default=True,
        title="Remove hot pixels",
        description="Replace single pixels that stand far above their neighbours.",
    )
    spot_threshold: float = Field(
        default=3.5,
        title="Spot threshold",
        description="How many times the noise a spot must stand out to be looked at; one that"
        " stands out less than twice that weighs little.",
        ge=1,
        le=50,
        json_schema_extra={"advanced": True},
    )
    n_best: int = Field(
        default=3,
        title="Answers kept",
        description="Distinct answers kept per position, best first.",
        ge=1,
        le=10,
    )
    most_crystals: int = Field(
        default=3,
        title="Crystals at most",
        description="Crystals sought in one pattern: the spots of one are faded and the rest is"
        " matched again; 1 looks for no second.",
        ge=1,
        le=6,
    )
    refine: bool = Field(
        default=True,
        title="Refine",
        description="Improve the answers between the library's zone axes.",
    )
    distinct_deg: float = Field(
        default=8.0,
        title="Distinct answers",
        description="Two answers nearer than this (after crystal symmetry) count as one, in"
        " degrees.",
        ge=1,
        le=30,
        json_schema_extra={"unit": "degree", "advanced": True},
    )
    reliability_threshold: float = Field(
        default=0.5,
        title="Doubtful below",
        description="Positions whose reliability is below this probability are marked"
        " ambiguous, with their cause.",
        ge=0,
        le=1,
    )
    spatial: bool = Field(
        default=True,
        title="Ask the neighbours",
        description="Where an answer is in doubt and its reliable neighbours clearly agree with"
        " another of those kept, that one is put first; the map says where.",
    )
    memory_mb: int = Field(
        default=768,
        title="Memory",
        description="Working memory of the matcher in MB; smaller is slower, never wrong.",
        ge=64,
        le=65536,
        json_schema_extra={"unit": "MB", "advanced": True},
    )

    @field_validator("phases", mode="before")
    @classmethod
    def _one_phase(cls, value: object) -> object:
        """Accept a single phase without brackets."""
        return (value,) if isinstance(value, str) else value

    @field_validator("q_min", "q_max")
    @classmethod
    def _limits_in_order(cls, value: float | None, info: ValidationInfo) -> float | None:
        """A validator of the fields: one of the model would keep a refused assignment."""
        limits = {**info.data, str(info.field_name): value}
        inner, outer = limits.get("q_min"), limits.get("q_max")
        if inner is not None and outer is not None and outer <= inner:
            raise ValueError(
                f"the outer limit {outer:g} 1/Å must lie beyond the inner {inner:g} 1/Å"
            )
        return value
