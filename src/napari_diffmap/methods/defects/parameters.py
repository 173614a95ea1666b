"""Parameters of finding, sorting and following defects: form, options and recipe in one."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

#: Lattice constant a of the monolayers that are known, nm (room temperature).
SPACING_NM: Final = {
    "graphene": 0.246,
    "MoS2": 0.316,
    "WS2": 0.3153,
    "MoSe2": 0.3288,
    "WSe2": 0.328,
}

Material = Literal["auto", "graphene", "MoS2", "WS2", "MoSe2", "WSe2", "other"]


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FindParameters(_Parameters):
    """How defects are found."""

    model: str = Field(
        default="monolayer",
        title="Model",
        description="A network for defects by name or file; 'sites': lattice and site model alone.",
    )
    train: Literal["no", "fourier", "sites"] = Field(
        default="no",
        title="Train first",
        description="Train a network on this image first: on labels of the Fourier filter, or of"
        " the site model.",
    )
    threshold: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        title="Threshold",
        description="Probability from which a find counts; none: where the fewest are expected to"
        " be missed or wrong (greatest expected F1).",
    )
    material: Material = Field(
        default="auto",
        title="Material",
        description="Sets the lattice constant and the names of sites; auto: measured.",
    )
    spacing_nm: float | None = Field(
        default=None,
        gt=0,
        title="Lattice constant",
        json_schema_extra={"unit": "nm"},
        description="Lattice constant a in nm, where the material is another one.",
    )
    drift: bool = Field(
        default=True, title="Follow drift", description="Measure and follow the drift of a movie."
    )


class SortParameters(_Parameters):
    """How finds are sorted into classes."""

    by: Literal["sites", "mixture"] = Field(
        default="sites",
        title="Sort by",
        description="By sublattice and amplitude, or by a Gaussian mixture of what they look like.",
    )
    classes: int | None = Field(
        default=None,
        ge=1,
        le=20,
        title="Classes",
        description="Classes of the mixture; none: fewest by BIC.",
    )
    crop: float = Field(
        default=2.5,
        gt=0.5,
        le=8,
        title="Side of crops",
        description="Side of what is looked at, in lattice constants.",
    )
    seed: int = Field(default=0, ge=0, title="Random seed", description="Of everything random.")


class FollowParameters(_Parameters):
    """How finds are linked to tracks."""

    reach: float = Field(
        default=1.2,
        title="Longest jump",
        gt=0,
        le=10,
        description="Longest jump between frames, in distances of neighbouring sites of a kind.",
    )
    gap: int = Field(
        default=2, ge=0, le=50, title="Gap", description="Frames a defect may go unseen."
    )
    shortest: int = Field(
        default=3,
        ge=1,
        title="Shortest track",
        description="Frames of the shortest track that counts.",
    )


class DefectParameters(_Parameters):
    """Find, sort, follow."""

    find: FindParameters = FindParameters()
    sort: SortParameters = SortParameters()
    follow: FollowParameters = FollowParameters()
