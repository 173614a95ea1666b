"""Where the site model is believed beside a network."""

from __future__ import annotations

import numpy as np
import pytest

from napari_diffmap.methods.defects.find import Finder
from napari_diffmap.methods.defects.lattice import find_lattice
from napari_diffmap.methods.defects.network.calibrated import matched
from napari_diffmap.methods.defects.parameters import FindParameters
from napari_diffmap.methods.defects.simulated import Simulated, render, simulate
from napari_diffmap.methods.defects.sites import site_model
from napari_diffmap.methods.defects.trust import believed


@pytest.fixture(scope="module")
def scene() -> Simulated:
    return simulate(np.random.default_rng(8), size=256, peak=400, vacancies=12, dopants=8)


def dirty(scene: Simulated) -> np.ndarray:
    """A cloud of light atoms in one corner."""
    rng = np.random.default_rng(1)
    atoms = rng.uniform(0, 80, (160, 2))
    cloud = render(scene.image.shape, atoms, np.full(160, 160.0), 3.0)
    return scene.image + rng.poisson(cloud)


def test_a_clean_lattice_is_believed(scene: Simulated) -> None:
    lattice = find_lattice(scene.image)
    sites = site_model(scene.image, lattice)
    same = believed(sites, lattice.spacing)
    changed = sites.fitted & ~same.fitted
    assert changed.mean() < 0.02
    assert not (changed & (sites.probability > 0.9)).any()


def test_nothing_is_believed_where_most_sites_are_said_to_be_defects(scene: Simulated) -> None:
    image = dirty(scene)
    lattice = find_lattice(image)
    sites = site_model(image, lattice)
    less = believed(sites, lattice.spacing)
    corner = (sites.sites.places < 70).all(axis=1)
    far = (sites.sites.places > 130).any(axis=1)
    assert less.fitted[corner].mean() < 0.3
    assert less.fitted[far].mean() > 0.9
    assert (less.fitted_at(sites.sites.places[corner])).mean() < 0.3


def test_dirt_makes_fewer_false_finds(scene: Simulated) -> None:
    image = dirty(scene)

    def false(model: str) -> int:
        finder = Finder(FindParameters(model=model))
        finder.prepare([image], None)
        finds = finder.frame(image, 0).finds
        sure = finds.take(finds.probability > 0.5)
        partner, _ = matched(
            sure.places,
            np.asarray(sure.excess, bool),
            scene.truth.places,
            scene.truth.excess,
            0.38 * scene.spacing,
        )
        return int((partner < 0).sum())

    assert false("monolayer") < 0.6 * false("sites")
