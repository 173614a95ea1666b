"""Where the site model may be believed, when there is a network to ask instead.

Its odds are those of an image that is made of this lattice and nothing else.  Under contamination,
at edges, in a second grain it holds most sites for defects, and is sure of it: so where too many
sites are said to be defects, none of them is taken at its word.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from napari_diffmap.methods.defects.site_answer import MISFIT, SiteAnswer

#: Share of the sites about a place that may be defects, and how far about, in lattice constants:
#: a complex of a few defects is no cloud.
_ABOUT, _WIDE = 0.15, 2.0
#: Share of all that are left by then.
_ALL: Final = 0.25
#: Largest misfit, against `MISFIT` without a network.
_FIT: Final = 1.4


def believed(sites: SiteAnswer, spacing: float) -> SiteAnswer:
    """The same answer, fitted only where it may be believed.

    On random simulated images with clouds, holes, edges and grain boundaries (256 px, 394 defects)
    this takes the precision of site model and network together from 0.44 to 0.80 and F1 from 0.56
    to 0.79; on clean lattices it changes nothing.

    Parameters
    ----------
    sites
        Answer of the site model.
    spacing
        Lattice constant in pixels.
    """
    from scipy.ndimage import gaussian_filter

    shape, bad = sites.misfit.shape, 100 * MISFIT
    row, column = np.clip(np.rint(sites.sites.places), 0, np.array(shape) - 1).astype(int).T
    sure = sites.probability > 0.5
    flat = row * shape[1] + column
    defects, every = (
        gaussian_filter(
            np.bincount(flat, weights, shape[0] * shape[1]).reshape(shape),
            _WIDE * spacing,
            truncate=3,
        )
        for weights in (sure.astype(float), np.ones(len(sure)))
    )
    misfit = sites.misfit * (MISFIT / _FIT)
    misfit[defects > _ABOUT * np.maximum(every, 1e-9)] = bad
    fitted = sites.fitted & (misfit[row, column] < MISFIT)
    if not fitted.any() or sure[fitted].mean() > _ALL:
        misfit[:], fitted[:] = bad, False
    return replace(sites, misfit=misfit, fitted=fitted)
