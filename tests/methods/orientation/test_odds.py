"""The odds of one reflection: against integration by other means, and where they must end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special, stats

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.methods.orientation.odds import (
    DYNAMICAL_SHAPE,
    MU_COUNT,
    MU_FIRST,
    MU_STEP,
    IntensityModel,
    log_odds_table,
    rocking,
    row_of,
)
from napari_diffmap.methods.registration.significance import root_deviance
from napari_diffmap.scan.calibration import electron_wavelength

#: As in the model: shape of the gamma law, share of strays and the range (ln) of their height.
SHAPE, STRAY, RANGE = 0.7, 1e-3, 6.0
#: So many counts of background are plenty.
MANY = float(np.exp(7.5))


def table(z: float, background: float, mean: float) -> float:
    """The package's odds, where the table stores them."""
    row = row_of(torch.tensor(z), torch.tensor(background))
    column = round((np.log(mean) - MU_FIRST) / MU_STEP)
    return float(log_odds_table(DYNAMICAL_SHAPE).reshape(-1, MU_COUNT)[row, column])


def on_grid(z: float) -> float:
    """The nearest significance the table has a row for."""
    return float(2 * np.sinh(0.08 * round(np.arcsinh(z / 2) / 0.08)))


def averaged(counts: int, background: float, mean: float) -> float:
    """ln of the Poisson probability of counts, averaged over the gamma law of intensities."""
    u = np.linspace(-40, 4, 44_001)
    law = stats.gamma(SHAPE, scale=1 / SHAPE).logpdf(np.exp(u)) + u
    expected = background + mean * np.exp(u) * np.sqrt(background)
    values = law + stats.poisson.logpmf(counts, expected)
    return float(special.logsumexp(values) + np.log(u[1] - u[0]))


@pytest.mark.parametrize(
    ("background", "within"), [(1.0, 0.6), (float(np.exp(3)), 0.35), (MANY, 0.25)]
)
@pytest.mark.parametrize("mean", [0.5, 3.0, 20.0])
def test_odds_are_those_of_poisson_counts(background: float, within: float, mean: float) -> None:
    """Against the Poisson law averaged over the gamma law, with strays on both sides.

    The table takes counts for normal in the root of the deviance.
    """
    e = torch.tensor(background, dtype=torch.float64)
    root = np.sqrt(background)
    for z_wanted in (-1.0, 0.0, 2.0, 5.0, 12.0, 30.0):
        counts = round(background + z_wanted * root)
        if counts < 0:
            continue
        z = float(root_deviance((counts - e) / root, e))
        if abs(z - on_grid(z)) > 0.03 * abs(z) + 0.02:
            continue
        ratio = averaged(counts, background, mean) - stats.poisson.logpmf(counts, background)
        stray = np.log(STRAY / RANGE / z) if z > 1 else -np.inf
        present = np.logaddexp(ratio + stats.norm.logpdf(z), stray)
        absent = np.logaddexp(np.log1p(-STRAY) + stats.norm.logpdf(z), stray)
        assert table(z, background, mean) == pytest.approx(present - absent, abs=within), counts


def test_rare_spots_are_worth_no_more_than_strays_allow() -> None:
    """However strong: a spot of unknown origin may be as strong."""
    values = log_odds_table(DYNAMICAL_SHAPE)
    bound = np.log(RANGE / STRAY)
    assert float(values.max()) < bound
    best = values.amax(dim=2)[-1]  # of the best mean, many counts
    strong = best[-40:]
    assert float(strong.max() - strong.min()) < 0.4
    assert float(strong.min()) > 5


def test_missing_reflection_lowers_and_seen_one_raises() -> None:
    missing = [table(0.0, MANY, mean) for mean in (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)]
    assert max(missing) < 0
    assert (np.diff(missing) < 0).all()
    seen = [table(z, MANY, 10.0) for z in (3.0, 5.0, 8.0, 12.0)]
    assert (np.diff(seen) > 0).all()
    assert seen[-1] > 5
    # A faint one says next to nothing, whatever is measured.
    assert max(abs(table(z, MANY, 0.016)) for z in (-2.0, 0.0, 1.0, 2.0)) < 0.05


def test_stray_spot_does_not_decide() -> None:
    """A strong spot where nothing is predicted costs nothing; a strong one missing has a bound."""
    assert abs(table(50.0, MANY, 0.016)) < 0.3
    assert -13 < float(log_odds_table(DYNAMICAL_SHAPE).min()) < -3


@pytest.mark.parametrize("background", [0.01, 1.0, 100.0])
def test_root_deviance_is_how_rare_counts_are(background: float) -> None:
    """Against the tail of the Poisson law (to the continuity of a normal one)."""
    e = torch.tensor(background, dtype=torch.float64)
    for counts in (1, 2, 5, 20, 150):
        if counts <= background or stats.poisson.sf(counts, background) < 1e-250:
            continue
        z = float(root_deviance((counts - e) / torch.sqrt(e), e))
        lower, upper = (
            stats.norm.isf(stats.poisson.sf(n, background)) for n in (counts - 1, counts)
        )
        assert min(lower, 37) - 0.3 <= z <= min(upper, 38) + 0.3


def test_root_deviance_limits() -> None:
    z = torch.linspace(-5, 200, 50)
    many = torch.full_like(z, 1e6)
    torch.testing.assert_close(root_deviance(z, many), z)
    torch.testing.assert_close(root_deviance(z, torch.full_like(z, torch.inf)), z)
    e = torch.full_like(z, 2.0)
    rise = root_deviance(z.clamp_min(-1.4), e)
    assert (rise.diff() >= 0).all()
    assert float(root_deviance(torch.tensor(0.0), torch.tensor(0.3))) == 0.0


def test_rows_of_the_table_are_clamped() -> None:
    z = torch.tensor([-1e6, 0.0, 1e9, 3.0])
    rows = row_of(z, torch.tensor([1e-20, 1.0, torch.inf, 1e20]))
    assert rows.dtype == torch.int64
    assert int(rows.min()) >= 0
    assert int(rows.max()) < log_odds_table(DYNAMICAL_SHAPE).reshape(-1, MU_COUNT).shape[0]


def test_dynamical_means_are_those_of_two_beams() -> None:
    """Against the two-beam intensity averaged over thickness, strong and weak, near and far."""
    phase = load_phase("Au")
    found = reflections(phase, 1.4)
    one = rocking(phase, found, IntensityModel(), 200.0, 0.0, torch.device("cpu"))
    potential = np.sqrt(found.amplitude2) * (1 + 200 / 510.99895) / (np.pi * phase.volume)
    inverse = electron_wavelength(200.0) * potential
    thickness = np.linspace(0, 350 * np.sqrt(3), 4001)  # even, of root mean square 350 Å
    chosen = np.linspace(0, len(found) - 1, 12).astype(int)
    for s in (0.0, 0.003, 0.02, 0.05):
        root = np.sqrt(s**2 + inverse[chosen] ** 2)[:, None]
        wave = (inverse[chosen, None] / root * np.sin(np.pi * thickness * root)) ** 2
        said = np.exp(one.mean(torch.full((len(found),), s)).numpy()[chosen])
        # The closed form is an interpolation of its limits.
        np.testing.assert_allclose(said, wave.mean(axis=1), rtol=0.45)


def test_kinematic_means_are_gaussian() -> None:
    phase = load_phase("Au")
    found = reflections(phase, 1.4)
    device = torch.device("cpu")
    one = rocking(phase, found, IntensityModel(sigma=0.014), 200.0, 0.0, device)
    s = torch.full((len(found),), 0.014)
    fall = one.mean(torch.zeros_like(s)) - one.mean(s)
    # The width² of the dynamical form is 1 there, s² beside it next to nothing.
    torch.testing.assert_close(fall, torch.full_like(s, 0.5), atol=1e-3, rtol=0)
    swung = rocking(phase, found, IntensityModel(sigma=0.014), 200.0, 1.0, device)
    assert (swung.narrow < one.narrow).all()
