"""What a model is, in words and numbers: for which crystals and scans, how good, how fast."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

#: Cards and files of this layout can be read; a later one is refused.
FORMAT: Final = 1

Task = Literal["orientation", "phase", "defects"]

# A card comes from a file of any origin and is printed: no line breaks, no escape sequences.
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$", max_length=4000)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)]
Checksum = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
Share = Annotated[float, Field(ge=0, le=1)]

#: What only patterns have: a card of a model for defects may leave it out.
_NO_PATTERNS: Final[dict[str, Any]] = {
    "voltage_kv": (0.0, 0.0),
    "thickness_nm": (0.0, 0.0),
    "precession_deg": (0.0, 0.0),
    "q_min": 0.0,
    "q_max": 0.0,
    "pixel_size": (0.0, 0.0),
}

#: Values that differ by less than this share of them are the same: files round what they say.
_SAME = 1e-3


def _in_order(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"the range {value[0]:g} to {value[1]:g} runs backwards")
    return value


#: Lowest and highest value; of one that is drawn by its logarithm both are above 0.
Range = Annotated[tuple[NonNegativeFloat, NonNegativeFloat], AfterValidator(_in_order)]
LogRange = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_in_order)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NetworkSpec(_Part):
    """Which network the weights belong to.

    Attributes
    ----------
    family
        Name of the builder.
    options
        What the builder is given.
    """

    family: Line
    options: dict[Line, int | float | bool | Line | tuple[int, ...]] = Field(default_factory=dict)


class PhaseNote(_Part):
    """A crystal the model was trained for.

    Attributes
    ----------
    name, formula
        As the user reads them.
    space_group
        Number or Hermann–Mauguin symbol.
    cell
        a, b, c in Å, α, β, γ in degrees.
    cif
        The whole text of the CIF that patterns were simulated from.
    """

    name: Line
    formula: Line = ""
    space_group: int | Line
    cell: tuple[float, float, float, float, float, float]
    cif: str = ""


class Accuracy(_Part):
    """How good the model was on one set of patterns or images; None where it was not measured.

    Attributes
    ----------
    dataset
        Name of the set.
    patterns
        How many there were; of images with defects, how many defects.
    within_3deg, within_3deg_up_to_twin
        Shares of orientations within 3° of the truth, and of the truth or its twin.
    median_deg
        Median disorientation in degrees.
    polished
        Whether answers were refined against the pattern.
    phase_balanced_accuracy
        Mean over the phases of the share that was recognised.
    expected_calibration_error
        Mean distance between said and true probability.
    precision, recall, f1
        Shares of the finds that are defects, and of the defects that are found; their harmonic
        mean.
    """

    dataset: Line
    patterns: NonNegativeInt | None = None
    within_3deg: Share | None = None
    within_3deg_up_to_twin: Share | None = None
    median_deg: NonNegativeFloat | None = None
    polished: bool = False
    phase_balanced_accuracy: Share | None = None
    expected_calibration_error: Share | None = None
    precision: Share | None = None
    recall: Share | None = None
    f1: Share | None = None


class Speed(_Part):
    """Patterns (or images) per second on a device, with or without refinement."""

    device: Line
    patterns_per_second: NonNegativeFloat
    polished: bool = False


class ModelCard(_Part):
    """The card of a model, kept in the file with its weights.

    Attributes
    ----------
    format
        Layout of the file.
    name
        What a user types: small letters, digits, dots, dashes.
    title, version
        As the user reads them.
    task
        What it answers.
    network
        How to build it.
    phases
        What it was trained for, in the order of its answers; none of a model for defects.
    materials
        Names of what a model for defects was trained for.
    spacing_px
        Range of the lattice constant of the images that a model for defects takes, pixels.
    voltage_kv, thickness_nm, precession_deg
        Ranges (low, high) of the patterns trained on: kV, nm, degrees.
    dose
        Range of diffracted electrons per pattern, or counts at the brightest columns of an image.
    q_min, q_max
        What it looks at, in 1/Å.
    pixel_size
        Range of detector pixels in 1/Å.
    trained_on, recipe, seed
        Data in words, YAML text of the training, seed of its random numbers.
    patterns_seen, trained_seconds, trained_device
        How much, how long (s), on what.
    date, project_version
        When and with which version of this project.
    accuracy, speed
        What was measured.
    limits
        What it cannot do, a line each.
    calibration
        Numbers found after training, e.g. ``temperature`` and thresholds.
    licence
        Of the weights.
    checksum
        SHA-256 (hex) over the tensors, see `weights.checksum_of`; empty before it is written.
    """

    format: Literal[1] = FORMAT
    name: Slug
    title: Line
    version: Line
    task: Task
    network: NetworkSpec
    phases: tuple[PhaseNote, ...] = Field(default=(), validate_default=True)
    materials: tuple[Line, ...] = ()
    spacing_px: Range | None = None
    voltage_kv: Range
    thickness_nm: Range
    precession_deg: Range
    dose: Range
    q_min: NonNegativeFloat
    q_max: NonNegativeFloat
    pixel_size: Range
    trained_on: Line
    recipe: str = ""
    seed: int
    patterns_seen: NonNegativeInt
    trained_seconds: NonNegativeFloat
    trained_device: Line
    date: Line
    project_version: Line
    accuracy: tuple[Accuracy, ...] = ()
    speed: tuple[Speed, ...] = ()
    limits: tuple[Line, ...] = ()
    calibration: dict[Line, float] = Field(default_factory=dict)
    licence: Line
    checksum: Checksum = ""

    @field_validator("phases")
    @classmethod
    def _some_phases(
        cls, phases: tuple[PhaseNote, ...], info: ValidationInfo
    ) -> tuple[PhaseNote, ...]:
        if not phases and info.data.get("task") != "defects":
            raise ValueError("it names no phase")
        return phases

    @model_validator(mode="before")
    @classmethod
    def _without_patterns(cls, record: Any) -> Any:
        if isinstance(record, dict) and record.get("task") == "defects":
            return {**_NO_PATTERNS, **record}
        return record

    @model_validator(mode="after")
    def _of_defects(self) -> Self:
        if self.task == "defects" and not (self.materials and self.spacing_px):
            raise ValueError("a model for defects says its materials and spacing_px")
        return self

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of what it was trained for: phases, or monolayers."""
        return self.materials or tuple(phase.name for phase in self.phases)

    def covers(
        self,
        *,
        voltage_kv: float | None = None,
        precession_deg: float | None = None,
        pixel_size: float | None = None,
        thickness_nm: float | None = None,
        dose: float | None = None,
        phases: Iterable[str] = (),
    ) -> list[str]:
        """Why the model does not fit a scan, a line each; none where it fits.

        Parameters
        ----------
        voltage_kv, precession_deg, pixel_size, thickness_nm, dose
            Of the scan, in kV, degrees, 1/Å, nm and diffracted electrons per pattern.  None is
            unknown, and not judged.
        phases
            Names of what the sample may be.
        """
        reasons = [
            f"{what} {_short(value)}{unit} is outside the {_span(bounds)}{unit} it was trained for"
            for what, value, bounds, unit in (
                ("voltage", voltage_kv, self.voltage_kv, " kV"),
                ("precession", precession_deg, self.precession_deg, "°"),
                ("pixel size", pixel_size, self.pixel_size, " 1/Å"),
                ("thickness", thickness_nm, self.thickness_nm, " nm"),
                ("dose", dose, self.dose, " electrons per pattern"),
            )
            if value is not None and not _within(value, bounds)
        ]
        mine = [phase.name for phase in self.phases]
        strange = [name for name in phases if name not in mine]
        if strange:
            known = ", ".join(mine)
            reasons.append(f"{', '.join(strange)} is unknown to it: it was trained for {known}")
        return reasons

    def rows(self) -> tuple[tuple[str, str], ...]:
        """The card without recipe and CIFs, as what is said and of what."""
        training = (
            f"{self.patterns_seen:,} {'patches' if self.task == 'defects' else 'patterns'} in"
            f" {self.trained_seconds / 3600:.3g} h on"
            f" {self.trained_device}, seed {self.seed}, {self.date}, version {self.project_version}"
        )
        rows = [
            ("task", self.task),
            *(self._of_images() if self.task == "defects" else self._of_patterns()),
            ("network", _network(self.network)),
            ("trained on", self.trained_on),
            ("training", training),
            *(("accuracy", _accuracy(each, self._counted)) for each in self.accuracy),
            *(("speed", _speed(each, self.task)) for each in self.speed),
            *(("limit", each) for each in self.limits),
            ("calibration", ", ".join(f"{k} {_short(v)}" for k, v in self.calibration.items())),
            ("licence", self.licence),
            ("checksum", self.checksum),
        ]
        return tuple((what, value) for what, value in rows if value)

    @property
    def _counted(self) -> str:
        return "defects" if self.task == "defects" else "patterns"

    def _of_patterns(self) -> list[tuple[str, str]]:
        return [
            ("phases", "; ".join(_phase(phase) for phase in self.phases)),
            ("voltage", f"{_span(self.voltage_kv)} kV"),
            ("thickness", f"{_span(self.thickness_nm)} nm"),
            ("precession", f"{_span(self.precession_deg)}°"),
            ("dose", f"{_span(self.dose)} diffracted electrons per pattern"),
            ("looks at", f"{_span((self.q_min, self.q_max))} 1/Å"),
            ("pixel size", f"{_span(self.pixel_size)} 1/Å"),
        ]

    def _of_images(self) -> list[tuple[str, str]]:
        spacing = "" if self.spacing_px is None else f"{_span(self.spacing_px)} pixels"
        return [
            ("materials", ", ".join(self.materials)),
            ("lattice", f"{spacing} per lattice constant"),
            ("dose", f"{_span(self.dose)} counts at the brightest columns"),
        ]

    @property
    def voltage_text(self) -> str:
        """Voltage or range of voltages, without its unit; empty where none matters."""
        return "" if self.task == "defects" else _span(self.voltage_kv)

    def describe(self) -> str:
        """The card as text of several lines, without recipe and CIFs."""
        lines = [f"{what:<12}{value}" for what, value in self.rows()]
        return "\n".join([f"{self.title} ({self.name} {self.version})", *lines])


def _short(value: float) -> str:
    """Four figures at least, no exponent in front of the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _span(bounds: tuple[float, float]) -> str:
    low, high = map(_short, bounds)
    return low if low == high else f"{low}–{high}"


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return any(math.isclose(value, bound, rel_tol=_SAME) for bound in bounds) or (
        bounds[0] <= value <= bounds[1]
    )


def _phase(phase: PhaseNote) -> str:
    formula = f" ({phase.formula})" if phase.formula not in ("", phase.name) else ""
    lengths = ", ".join(f"{value:.4g}" for value in phase.cell[:3])
    angles = ", ".join(f"{value:.4g}" for value in phase.cell[3:])
    return f"{phase.name}{formula}, {phase.space_group}, {lengths} Å, {angles}°"


def _network(network: NetworkSpec) -> str:
    options = ", ".join(f"{name} {value}" for name, value in network.options.items())
    return f"{network.family} ({options})" if options else network.family


def _polish(polished: bool) -> str:
    return ", refined" if polished else ""


def _speed(found: Speed, task: Task) -> str:
    pace = _short(found.patterns_per_second)
    of = "images" if task == "defects" else "patterns"
    return f"{pace} {of}/s on {found.device}{_polish(found.polished)}"


def _accuracy(found: Accuracy, counted: str) -> str:
    parts = [
        f"{100 * share:.1f} % {what}"
        for share, what in (
            (found.within_3deg, "within 3°"),
            (found.within_3deg_up_to_twin, "up to the twin"),
            (found.phase_balanced_accuracy, "of phases, balanced"),
            (found.precision, "of the finds are defects"),
            (found.recall, "of the defects are found"),
            (found.expected_calibration_error, "calibration error"),
        )
        if share is not None
    ]
    if found.median_deg is not None:
        parts.append(f"median {found.median_deg:.2f}°")
    if found.f1 is not None:
        parts.append(f"F1 {found.f1:.3f}")
    count = "" if found.patterns is None else f" ({found.patterns:,} {counted})"
    return f"{found.dataset}{count}{_polish(found.polished)}: {', '.join(parts) or 'not measured'}"
