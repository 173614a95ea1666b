"""Parameters of phase maps of stacks; the form, the options and the recipe come from them."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

#: Ways to tell phases, in the order of the table; the first is the default.
MethodName = Literal["posterior", "pearson", "nnls", "pca-gmm", "two-energy", "gmvae"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)
#: What each is, for tooltips, tables and the record.
METHOD_WORDS: dict[MethodName, str] = {
    "posterior": "probability of each reference given the counts and the neighbours",
    "pearson": "reference of the largest Pearson correlation",
    "nnls": "largest fraction by non-negative least squares",
    "pca-gmm": "principal components, Gaussian mixture, clusters named by Pearson correlation",
    "two-energy": "angle of the optical densities at two energies",
    "gmvae": "ensemble of Gaussian-mixture variational autoencoders, clusters named by Pearson"
    " correlation",
}


class SpectralParameters(BaseModel):
    """How phases are told in a stack of images over energy.

    Attributes carry their own title, description (with unit) and bounds.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    method: MethodName = Field(
        default="posterior",
        title="Method",
        description="What tells the phases: "
        + "; ".join(f"{name}: {words}" for name, words in METHOD_WORDS.items())
        + ".",
    )
    compare: bool = Field(
        default=True,
        title="Compare methods",
        description="Run the quick methods too and say where they agree with the map.",
    )
    energies: tuple[FiniteFloat, ...] | None = Field(
        default=None,
        title="Energies",
        description="Only these energies, eV (the nearest measured ones); empty: all.",
        json_schema_extra={"unit": "eV"},
    )
    background: Literal["auto", "none", "offset", "line"] = Field(
        default="auto",
        title="Background",
        description="What is fitted beside the references: nothing, an offset of the optical"
        " density, or a line over energy; auto: a line from eight energies on, else an offset.",
    )
    align: bool = Field(
        default=False,
        title="Align frames",
        description="Shift every frame onto the others first, to fractions of a pixel.",
    )
    saturation: float = Field(
        default=2.2,
        title="Saturation",
        description="Pixels whose optical density exceeds it at any energy are doubted: thick"
        " parts bend a spectrum.",
        gt=0.1,
        le=10,
        json_schema_extra={"unit": "OD"},
    )
    threshold: float | None = Field(
        default=None,
        title="Sample threshold",
        description="Mean optical density from which on a pixel belongs to the sample; empty:"
        " chosen by the histogram (Otsu).",
        gt=-1,
        le=10,
        json_schema_extra={"unit": "OD"},
    )
    certainty: float = Field(
        default=0.9,
        title="Certainty",
        description="Pixels whose answer is less probable than this are ambiguous.",
        gt=0.3,
        lt=1,
    )
    significance: float = Field(
        default=0.05,
        title="Significance",
        description="p of Williams' test above which the two best references are not told apart.",
        gt=0,
        lt=0.5,
        json_schema_extra={"advanced": True},
    )
    least_correlation: float = Field(
        default=0.9,
        title="Least correlation",
        description="Where even the best reference correlates less than this, and noise does not"
        " explain it, the assignment is called false.",
        ge=0,
        lt=1,
        json_schema_extra={"advanced": True},
    )
    smallest: int = Field(
        default=4,
        title="Smallest region",
        description="Regions of fewer pixels of one phase within another are called false"
        " assignments.",
        ge=1,
        le=1000,
        json_schema_extra={"unit": "pixel", "advanced": True},
    )
    composition_range: tuple[FiniteFloat, FiniteFloat] | None = Field(
        default=None,
        title="Composition range",
        description="Compositions that the state of charge allows, lowest and highest; outside,"
        " by three standard errors, an assignment is false. Empty: any.",
        json_schema_extra={"advanced": True},
    )
    boundary: int = Field(
        default=2,
        title="Boundary width",
        description="How far from a boundary between two phases a transition phase may lie.",
        ge=1,
        le=20,
        json_schema_extra={"unit": "pixel", "advanced": True},
    )
    calibrate: bool = Field(
        default=True,
        title="Calibrate doubt",
        description="Simulate the found map at the measured dose and map it again: how often the"
        " answer is right at each probability becomes the reliability.",
        json_schema_extra={"advanced": True},
    )
    pair: tuple[FiniteFloat, FiniteFloat] | None = Field(
        default=None,
        title="Two energies",
        description="Energies of the two-energy method, eV; empty: the pair that separates the"
        " references best.",
        json_schema_extra={"unit": "eV", "advanced": True},
    )
    clusters: int | None = Field(
        default=None,
        title="Clusters",
        description="Clusters of the mixtures; empty: two more than there are references, four at"
        " least.",
        ge=2,
        le=40,
        json_schema_extra={"advanced": True},
    )
    seeds: int = Field(
        default=5,
        title="Ensemble",
        description="Autoencoders that are trained; their agreement is the stability.",
        ge=1,
        le=50,
        json_schema_extra={"advanced": True},
    )
    epochs: int = Field(
        default=40,
        title="Epochs",
        description="How long each autoencoder is trained.",
        ge=1,
        le=2000,
        json_schema_extra={"advanced": True},
    )
    seed: int = Field(
        default=0,
        title="Random seed",
        description="Start of the random numbers; the same seed gives the same map.",
        ge=0,
        json_schema_extra={"advanced": True},
    )

    @field_validator("pair")
    @classmethod
    def _two(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] == value[1]:
            raise ValueError("the two energies must differ")
        return value

    @field_validator("composition_range")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError("give the lowest composition first")
        return value

    @field_validator("energies")
    @classmethod
    def _enough(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and len(set(value)) < 2:
            raise ValueError("two different energies are needed at least")
        return value
