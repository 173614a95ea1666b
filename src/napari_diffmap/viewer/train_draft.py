"""A training that is being set up: what the user chose, and the recipe that comes of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from napari_diffmap.errors import BadInputError

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.viewer.session import Session

#: Families other than this learn one phase, see `models.families`.
POLAR = "polar"
#: What a recipe is called that gives nothing but the defaults.
DEFAULTS = "defaults"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_VOLTAGES = (20.0, 1500.0)
#: A training is looked at so many times at least.
_LOOKS = 16


@dataclass(frozen=True)
class TrainingDraft:
    """What is filled in so far.

    Attributes
    ----------
    name
        Of the model.
    phases
        The crystals to learn.
    voltage_kv, q_max
        kV, and the outer limit in 1/Å; None: not known.
    family, options
        Network, and what its builder is given, as YAML without its braces.
    steps, seed, batch, pool
        As in a recipe.
    domain
        Conditions that differ from those of `like`.
    like
        Fields of the recipe that gives everything else.
    """

    name: str = ""
    phases: tuple[CrystalPhase, ...] = ()
    voltage_kv: float | None = None
    q_max: float | None = None
    family: str = POLAR
    options: str = ""
    steps: int = 4000
    seed: int = 0
    batch: int = 128
    pool: int = 8192
    domain: Mapping[str, Any] = field(default_factory=dict)
    like: Mapping[str, Any] = field(default_factory=dict)

    def missing(self) -> str:
        """What must be filled in or mended, in one line; empty when nothing."""
        if not self.phases:
            return "Tick the phases that it shall know."
        lost = [phase.name for phase in self.phases if phase.source is None]
        if lost:
            return f"{lost[0]} comes from no CIF file: add it in the Map dock."
        if self.family != POLAR and len(self.phases) > 1:
            return f"A {self.family} network learns one phase: tick one, or take {POLAR}."
        if not _NAME.fullmatch(self.name):
            return "Name the model: small letters, digits, dots and dashes."
        if self.voltage_kv is None or not _VOLTAGES[0] <= self.voltage_kv <= _VOLTAGES[1]:
            return "Enter the voltage in kV: 20 to 1500."
        if self.q_max is None:
            return "Enter the outer limit in 1/Å."
        try:
            options_of(self.options)
        except BadInputError as error:
            return str(error)
        return ""

    def record(self) -> dict[str, Any]:
        """Fields of a `TrainingRecipe`.

        Raises
        ------
        BadInputError
            If something is missing.
        """
        lacking = self.missing()
        if lacking:
            raise BadInputError(lacking)
        like = dict(self.like)
        plan, domain = dict(like.get("plan", {})), dict(like.get("domain", {}))
        every = min(int(plan.get("validate_every", 250)), max(1, self.steps // _LOOKS))
        plan |= {"steps": self.steps, "seed": self.seed, "batch": self.batch}
        low, high = domain.get("q_max", (1.1, 1.5))
        assert self.q_max is not None
        # What each pattern is cut at varies in the same proportion.
        limits = (round(self.q_max * low / high, 4), self.q_max)
        domain |= {**self.domain, "voltage_kv": self.voltage_kv, "q_max": limits}
        return {
            # Title and limits are those of the model that the recipe was written for.
            **{k: v for k, v in like.items() if k not in ("title", "limits")},
            "name": self.name,
            "phases": [source_of(phase) for phase in self.phases],
            "family": self.family,
            "options": options_of(self.options),
            "pool": self.pool,
            "plan": {**plan, "validate_every": every},
            "domain": domain,
        }


def source_of(phase: CrystalPhase) -> str:
    """What `load_phase` reads a phase from: the name of a bundled one, or its CIF."""
    from napari_diffmap.crystal.phases import bundled_name

    return bundled_name(phase) or str(phase.source)


def options_of(text: str) -> dict[str, Any]:
    """Options of a network from a line such as ``width: 128, depth: 8``.

    Raises
    ------
    BadInputError
        If it is none.
    """
    import yaml

    try:
        found = yaml.safe_load("{" + text + "}")
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict) or any(value is None for value in found.values()):
        raise BadInputError("Write the options of the network as width: 128, depth: 8.")
    return {str(name): value for name, value in found.items()}


def options_text(options: Mapping[str, Any]) -> str:
    """Options of a network as one line."""
    return ", ".join(f"{name}: {value}" for name, value in options.items())


def suggested_name(
    phases: Sequence[CrystalPhase],
    voltage_kv: float | None,
    family: str,
    taken: Collection[str] = (),
) -> str:
    """A name for a model of some phases that no other has, e.g. ``linio2-nio-200kv-polar``."""
    words = [phase.name for phase in phases]
    if not words:
        return ""
    if voltage_kv is not None:
        words.append(f"{voltage_kv:g}kV")
    text = "-".join((*words, family)).lower()
    name = re.sub(r"[^a-z0-9._-]+", "-", text).strip("-._")[:72]
    if name not in taken:
        return name
    return next(f"{name}-{i}" for i in count(2) if f"{name}-{i}" not in taken)


def outer_limit(session: Session) -> float | None:
    """The largest circle about the beam on the detector, in 1/Å; None where not calibrated.

    Loads the matcher: not for the thread of the window.
    """
    from napari_diffmap.methods.orientation.geometry import largest_circle
    from napari_diffmap.viewer.views import sure_center

    patterns = session.patterns
    if patterns is None or patterns.calibration.pixel_size is None:
        return None
    shape = (patterns.shape[-2], patterns.shape[-1])
    center = sure_center(patterns.calibration, shape)
    return round(largest_circle(shape, center) * patterns.calibration.pixel_size, 3)  # type: ignore[arg-type]
