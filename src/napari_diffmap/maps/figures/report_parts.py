"""What a report says about a map, as rows of tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffmap.errors import PhaseError
from napari_diffmap.maps.ambiguity import AMBIGUITY_TABLE, Ambiguity
from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.maps.edits.edited import EDITED_COLORS, EDITED_NAMES, edited_counts
from napari_diffmap.maps.figures.legends import length_text, percent
from napari_diffmap.maps.figures.report_html import Markup, paragraph, swatch, table
from napari_diffmap.maps.grains.find import find_grains

if TYPE_CHECKING:
    from napari_diffmap.maps.boundaries.find import Boundaries
    from napari_diffmap.maps.edits.edit import Edit
    from napari_diffmap.maps.orientation_map import OrientationMap
    from napari_diffmap.maps.phases import PhaseLike

#: Grains of the statistics: threshold in degrees and smallest size in pixels.
_THRESHOLD, _SMALLEST = 5.0, 4
#: Positions up to which grains are found for a report (seconds).
_MOST_POSITIONS = 4_000_000
#: Most rows of the list of corrections, most characters of a parameter.
_MOST_EDITS, _MOST_SIGNS = 2000, 400
#: Parameters with a table of their own.
CALIBRATION = ("calibration", "used")


def counts_table(found: OrientationMap, answer: OrientationMap | None) -> Markup:
    """Positions, answers and doubts; beside them those of the answer before corrections."""
    maps = [found] if answer is None else [answer, found]
    columns = ["Positions"] if answer is None else ["As mapped", "Corrected"]
    rows: list[list[object]] = [["all", *(m.indexed.size for m in maps)]]

    def add(name: object, masks: Sequence[Any], totals: Sequence[int] | None = None) -> None:
        values: list[object] = []
        for i, (mask, one) in enumerate(zip(masks, maps, strict=True)):
            count, total = int(np.count_nonzero(mask)), one.indexed.size
            share = percent(mask, max(1, totals[i] if totals else total))
            values.append(f"{count} ({share})")
        rows.append([name, *values])

    add("with an answer", [m.indexed for m in maps])
    no_data = [m.ambiguity == Ambiguity.NO_DATA for m in maps]
    if any(mask.any() for mask in no_data):
        add("no data", no_data)
    data = [int(np.count_nonzero(~mask)) for mask in no_data]
    add("in doubt, of those with data", [m.ambiguous for m in maps], data)
    for cause in AMBIGUITY_TABLE:
        masks = [m.ambiguity == cause.code for m in maps]
        if cause.code not in (Ambiguity.NONE, Ambiguity.NO_DATA) and any(m.any() for m in masks):
            add(swatch(cause.color, cause.name), masks, data)
    mean = [_mean_reliability(m) for m in maps]
    if any(np.isfinite(mean)):
        told = [f"{value:.3f}" if np.isfinite(value) else "none" for value in mean]
        rows.append(["mean reliability of the answers", *told])
    return table(["", *columns], rows, numbers=range(1, len(columns) + 1))


def _mean_reliability(found: OrientationMap) -> float:
    values = found.reliability[found.indexed]
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")


def phase_table(found: OrientationMap) -> Markup:
    """Names, symmetries, cells and shares."""
    total = max(1, int(np.count_nonzero(found.indexed)))
    rows = []
    for i, phase in enumerate(found.phases):
        mask = found.phase_mask(i)
        share = f"{int(np.count_nonzero(mask))} ({percent(mask, total)})"
        cell = phase.orix.structure.lattice.abcABG()
        lengths = " ".join(f"{value:.4f}" for value in cell[:3])
        angles = " ".join(f"{value:.2f}" for value in cell[3:])
        rows.append([swatch(phase.color, phase.name), *_groups(phase), lengths, angles, share])
    header = ["Phase", "Point group", "Space group", "a b c (Å)", "α β γ (°)", "Positions"]
    return table(header, rows, numbers=[5])


def _groups(phase: PhaseLike) -> tuple[str, str]:
    try:
        point = str(phase.point_group.name)
    except PhaseError:
        point = "unknown"
    space = phase.orix.space_group
    return point, "" if space is None else f"{space.short_name} ({space.number})"


def grain_table(found: OrientationMap, boundaries: Boundaries | None) -> list[Markup]:
    """Number and size of the grains of each phase; nothing of a very large map."""
    if not found.indexed.any() or found.indexed.size > _MOST_POSITIONS:
        return []
    try:
        grains = find_grains(found, threshold=_THRESHOLD, min_size=_SMALLEST, boundaries=boundaries)
    except PhaseError:
        return []
    diameters = grains.equivalent_diameters(found.step)
    rows = []
    for i, phase in enumerate(found.phases):
        mine = diameters[grains.phase_ids == i]
        if mine.size:
            values = (np.median(mine), mine.mean(), mine.max())
            told = [_length(float(value), found.step_unit) for value in values]
            rows.append([swatch(phase.color, phase.name), mine.size, *told])
    header = ["Phase", "Grains", "Median diameter", "Mean diameter", "Largest diameter"]
    note = (
        f"Neighbours up to {_THRESHOLD:g}° apart belong together; pieces of fewer than"
        f" {_SMALLEST} positions do not count. Diameters are those of circles of the same area;"
        " grains at the border are cut."
    )
    made = table(header, rows, numbers=[1, 2, 3, 4])
    return [made, paragraph(note, "quiet")] if made else []


def _length(length: float, unit: str) -> str:
    if length < 100:
        return f"{length:.3g} {'pixels' if unit == 'pixel' else unit}"
    return length_text(length, unit)


def edited_table(found: OrientationMap) -> Markup:
    """Corrected positions by kind."""
    counts = edited_counts(found)
    colors = {name: EDITED_COLORS.get(code, "#BBBBBB") for code, name in EDITED_NAMES.items()}
    codes = {name: code for code, name in EDITED_NAMES.items()}
    rows = []
    for name, count in counts.items():
        share = percent(found.extra[EDITED] == codes[name], found.indexed.size)
        rows.append([swatch(colors[name], name), f"{count} ({share})"])
    return table(["Correction", "Positions"], rows, numbers=[1])


def edit_list(edits: Sequence[Mapping[str, Any] | Edit]) -> list[Markup]:
    """Every correction: number, when, who, what, how many positions, note."""
    rows = [
        [
            _field(edit, "number"),
            _field(edit, "when"),
            _field(edit, "who"),
            _kind(_field(edit, "kind")),
            _count(_field(edit, "pixels")),
            _field(edit, "before"),
            _field(edit, "after"),
            _field(edit, "note"),
        ]
        for edit in edits[:_MOST_EDITS]
    ]
    header = ["", "When", "Who", "Correction", "Positions", "Before", "After", "Note"]
    made = [table(header, rows, numbers=[0, 4])]
    if len(edits) > _MOST_EDITS:
        made.append(paragraph(f"… and {len(edits) - _MOST_EDITS} more", "quiet"))
    return made


def _field(edit: Mapping[str, Any] | Edit, name: str) -> Any:
    value = edit.get(name) if isinstance(edit, Mapping) else getattr(edit, name, None)
    return "" if value is None else value


def _kind(kind: Any) -> str:
    known = isinstance(kind, int) and int(kind) in EDITED_NAMES
    return EDITED_NAMES[int(kind)] if known else str(kind)


def _count(pixels: Any) -> Any:
    return pixels if isinstance(pixels, int | str) else len(pixels)


def input_table(found: OrientationMap) -> Markup:
    """Files that went in."""
    rows = [
        [
            item.path,
            item.format,
            " × ".join(map(str, item.shape)),
            "" if item.size is None else _size(item.size),
            item.modified,
            item.signature,
        ]
        for item in found.provenance.inputs
    ]
    return table(["File", "Format", "Shape", "Size", "Modified", "Signature"], rows, numbers=[3])


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.4g} TB"


def calibration_table(found: OrientationMap) -> Markup:
    """Step of the scan and what the patterns were measured with."""
    dy, dx = found.step
    unit = "pixel (no scale)" if found.step_unit == "pixel" else found.step_unit
    rows = [["scan step y, x", f"{dy:g}, {dx:g} {unit}"]]
    kept = {k: v for k, v in found.provenance.parameters.items() if k in CALIBRATION}
    rows += [
        [key.removeprefix("used.").removeprefix("calibration."), value]
        for key, value in _flat(kept)
        if not key.endswith("napari-diffmap calibration")  # the version of the record
    ]
    return table([], rows)


def parameter_table(found: OrientationMap) -> Markup:
    """Parameters of the run but for its calibration."""
    kept = {k: v for k, v in found.provenance.parameters.items() if k not in CALIBRATION}
    return table([], _flat(kept))


def version_table(found: OrientationMap) -> Markup:
    """Device and versions."""
    record = found.provenance
    rows = [
        ["method", record.method],
        ["computed on", record.device],
        ["computed at", record.created],
        ["napari-diffmap", record.project_version],
        *record.versions.items(),
    ]
    return table([], [row for row in rows if row[1]])


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[list[str]]:
    """Nested values as names with points and short words."""
    for key, value in values.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and "value" in value and "unit" in value:
            yield [name, _measured(value)]
        elif isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        else:
            yield [name, _words(value)]


def _measured(entry: Mapping[str, Any]) -> str:
    """A part of a calibration record: value, unit, where it came from."""
    about = [str(entry[key]) for key in ("origin", "residual") if entry.get(key)]
    words = f"{_words(entry['value'])} {entry['unit']}"
    return f"{words} ({'; '.join(about)})" if about else words


def _words(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = ", ".join(value)
    words = value if isinstance(value, str) else json.dumps(_rounded(value), ensure_ascii=False)
    return words if len(words) <= _MOST_SIGNS else words[:_MOST_SIGNS] + " …"


def _rounded(value: Any) -> Any:
    """Numbers to six digits."""
    if isinstance(value, float) and np.isfinite(value):
        return float(f"{value:.6g}")
    return [_rounded(part) for part in value] if isinstance(value, list) else value
