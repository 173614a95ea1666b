"""Parts of the networks for defects: losses, tiles, labels, peaks, figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.network.augment import augmented
from napari_diffmap.methods.defects.network.blending import blended
from napari_diffmap.methods.defects.network.calibrated import (
    calibrated_from,
    calibration_error,
    matched,
    peaks,
    scores,
)
from napari_diffmap.methods.defects.network.inputs import marks, resampled, seen, standardised
from napari_diffmap.methods.defects.network.labels_fourier import (
    fourier_labels,
    high_pass,
    patches,
    radius_below_bragg,
)
from napari_diffmap.methods.defects.network.labels_sites import corrected_labels
from napari_diffmap.methods.defects.network.losses import dice, focal, marks_loss
from napari_diffmap.methods.defects.network.unet import Ensemble, UNet
from napari_diffmap.methods.defects.simulated import simulate


# ------------------------------------------------------------------- network
def test_members_differ_and_a_seed_repeats_them() -> None:
    x = torch.randn(1, 4, 32, 48)
    one, again = Ensemble(2, 8, seed=3)(x), Ensemble(2, 8, seed=3)(x)
    assert one.shape == (2, 1, 2, 32, 48)
    assert torch.equal(one, again)
    assert not torch.allclose(one[0], one[1])
    names = set(Ensemble(2, 8).state_dict())
    assert {name.split(".")[0] for name in names} == {"0", "1"}


def test_before_it_learns_defects_are_rare() -> None:
    said = torch.sigmoid(UNet(8)(torch.randn(1, 4, 32, 32))).detach()
    assert 0.005 < float(said.mean()) < 0.08


# -------------------------------------------------------------------- losses
def test_the_focal_weight_is_of_the_pixel() -> None:
    """One pixel that is wrong among many right ones: its share of the gradient is not diluted."""
    labels = torch.zeros(1, 1, 16, 16)
    weight = torch.ones_like(labels)
    logits = torch.full_like(labels, -4.0)
    logits[0, 0, 3, 3] = 4.0
    grads = []
    for gamma in (0.0, 2.0):
        x = logits.clone().requires_grad_()
        focal(x, labels, weight, gamma).backward()
        assert x.grad is not None
        grads.append(x.grad[0, 0])
    ratio = [float(g[3, 3] / g[0, 0]) for g in grads]
    # A weight from the mean of the batch would leave this ratio alone.
    assert ratio[1] > 100 * ratio[0]


def test_gamma_0_is_half_the_cross_entropy() -> None:
    logits, labels = torch.randn(2, 2, 8, 8), (torch.rand(2, 2, 8, 8) > 0.5).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    found = focal(logits, labels, torch.ones(1), gamma=0, alpha=0.5)
    assert float(found) == pytest.approx(0.5 * float(expected), rel=1e-5)


def test_dice_is_0_where_all_is_right_and_1_where_all_is_wrong() -> None:
    labels = torch.zeros(1, 2, 40, 40)
    labels[..., :20, :] = 1
    right = dice(60 * labels - 30, labels, torch.ones(1))
    wrong = dice(30 - 60 * labels, labels, torch.ones(1))
    assert float(right) < 1e-4
    assert float(wrong) > 0.99


def test_unknown_pixels_teach_nothing() -> None:
    labels, weight = torch.rand(1, 2, 16, 16), torch.ones(1, 1, 16, 16)
    weight[..., 8:, :] = 0
    x = torch.randn(1, 2, 16, 16, requires_grad=True)
    marks_loss(x, labels, weight).backward()
    assert x.grad is not None
    assert float(x.grad[..., 8:, :].abs().max()) == 0
    assert float(x.grad[..., :8, :].abs().min()) > 0


# --------------------------------------------------------------------- tiles
def test_tiles_agree_with_the_whole() -> None:
    torch.manual_seed(0)
    network = UNet(8).eval()
    torch.nn.init.normal_(network.head.weight, std=2.0)
    image = np.random.default_rng(0).normal(size=(4, 300, 220)).astype(np.float32)

    def predict(some: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return torch.sigmoid(network(torch.from_numpy(some)[None]))[0].numpy()

    whole, tiled = predict(image), blended(predict, image, tile=160, overlap=64)
    assert whole.std() > 0.01
    assert np.abs(tiled - whole).max() < 0.01 * whole.std()


@settings(deadline=None, max_examples=25)
@given(st.integers(20, 90), st.integers(20, 90), st.integers(16, 40), st.integers(2, 14))
def test_blending_changes_nothing_that_sees_one_pixel(
    height: int, width: int, tile: int, overlap: int
) -> None:
    image = np.random.default_rng(1).normal(size=(1, height, width)).astype(np.float32)
    assert np.allclose(blended(lambda x: 3 * x, image, tile, overlap), 3 * image, atol=1e-5)


# -------------------------------------------------------------------- inputs
@pytest.mark.parametrize("spacing", [5.3, 8.0, 10.5, 21.0])
def test_resampling_keeps_places(spacing: float) -> None:
    place, sigma = np.array([41.3, 56.8]) * spacing / 8, 0.2 * spacing
    y, x = np.mgrid[: int(12 * spacing), : int(13 * spacing)]
    blob = np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / (2 * sigma**2))
    out, zoom = resampled(blob, spacing)
    yy, xx = np.mgrid[: out.shape[0], : out.shape[1]]
    found = np.array([(out * yy).sum(), (out * xx).sum()]) / out.sum()
    assert found == pytest.approx(place * zoom, abs=0.03)


def test_brightness_and_slow_backgrounds_do_not_matter() -> None:
    scene = simulate(np.random.default_rng(0), size=160, vacancies=3, dopants=3, background=0)
    y = np.arange(160)[:, None] / 160
    one, two = standardised(scene.image, 10.5), standardised(7 * scene.image + 500 * y + 9, 10.5)
    inner = (slice(25, -25), slice(25, -25))
    assert np.corrcoef(one[inner].ravel(), two[inner].ravel())[0, 1] > 0.999
    assert np.abs(one[inner] - two[inner]).mean() < 0.05
    hole = scene.image.copy()
    hole[:9] = np.nan
    assert np.isfinite(seen(standardised(hole), hole)).all()


def test_marks_are_where_they_are_said_to_be() -> None:
    out = marks((20, 30), np.array([[5.25, 7.5], [12, 29.4]]), np.array([False, True]), 2.0)
    assert out[0].sum() == pytest.approx(np.pi * 4, rel=0.12)
    y, x = np.mgrid[:20, :30]
    assert (out[0] * y).sum() / out[0].sum() == pytest.approx(5.25, abs=0.05)
    assert (out[0] * x).sum() / out[0].sum() == pytest.approx(7.5, abs=0.05)
    assert out[1, 12, 29] == 1
    assert out[1, :, :26].sum() == 0


def test_variation_keeps_marks_on_their_places() -> None:
    rng = np.random.default_rng(0)
    labels = marks((64, 64), np.array([[30.0, 32.0]]), np.array([True]))[None].repeat(6, 0)
    image = np.stack([labels[:, 1]] * 4, axis=1) * 8
    weight = np.ones((6, 1, 64, 64), np.float32)
    out, said, _ = augmented(*map(torch.from_numpy, (image, labels, weight)), rng)
    assert not torch.allclose(out[:, 0], torch.from_numpy(image[:, 0]))
    for patch, mark in zip(out[:, 0].numpy(), said[:, 1].numpy(), strict=True):
        place = np.unravel_index(patch.argmax(), patch.shape)
        assert mark[place] > 0.3


# ----------------------------------------------------------- published labels
def test_the_label_of_the_publication_is_the_low_pass_image() -> None:
    scene = simulate(np.random.default_rng(2), size=512)
    found = fourier_labels(scene.image, maskratio=10)
    image = scene.image.astype(float)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(512), np.fft.fftfreq(512), indexing="ij"))
    low = np.fft.ifft2(np.fft.fft2(image) * (f < 0.1)).real
    assert np.abs(image - high_pass(image, 0.1) - low).max() < 1e-9 * np.abs(image).max()
    expected = (low - low.min()) / np.ptp(low)
    assert np.allclose(found.difference, expected, atol=1e-9)
    assert np.array_equal(found.defect, (expected < 0.25) | (expected > 0.75))


def test_the_publication_has_1024_patches() -> None:
    image = np.arange(512.0 * 512).reshape(512, 512)
    found = patches(image)
    assert found.shape == (1024, 256, 256)
    assert found[33, 0, 0] == image[8, 8]


@pytest.mark.parametrize("pixel_nm", [0.02, 0.03, 0.045])
def test_the_radius_follows_the_lattice(pixel_nm: float) -> None:
    scene = simulate(np.random.default_rng(1), size=320, pixel_nm=pixel_nm, background=1.0)
    ring = 2 / (np.sqrt(3) * scene.spacing)
    assert radius_below_bragg(scene.image) == pytest.approx(0.9 * ring, rel=0.06)
    assert radius_below_bragg(scene.image, scene.spacing) == pytest.approx(0.9 * ring)
    found = fourier_labels(scene.image, radius=0.9 * ring)
    excess = scene.truth.places[~scene.truth.excess & (scene.truth.sublattice == 0)]
    y, x = np.rint(excess).astype(int).T
    # Mo on W lacks intensity: the low-pass image is darker there than elsewhere.
    assert found.difference[y, x].mean() < np.median(found.difference)


def test_a_flat_image_has_no_labels() -> None:
    with pytest.raises(BadInputError, match="flat"):
        fourier_labels(np.ones((64, 64)))


def test_corrections_count_where_they_were_made() -> None:
    found = corrected_labels((64, 64), np.array([[20, 20]]), [True], np.array([[44, 40]]))
    assert found.marks[1, 20, 20] == 1
    assert found.marks[:, 44, 40].sum() == 0
    assert found.weight[20, 20] == found.weight[44, 40] == 1
    assert found.weight[5, 60] == 0
    with pytest.raises(BadInputError, match="nothing to learn"):
        corrected_labels((64, 64), np.zeros((0, 2)), [])


# --------------------------------------------------------------------- finds
def test_peaks_have_sub_pixel_places() -> None:
    rng = np.random.default_rng(0)
    grid = np.mgrid[10:118:12, 10:118:12].reshape(2, -1).T
    places = grid + rng.uniform(-0.5, 0.5, grid.shape)
    kinds = rng.random(len(places)) < 0.5
    found = peaks(0.9 * marks((128, 128), places, kinds))
    partner, distance = matched(found.places, found.excess, places, kinds, 3.0)
    assert sorted(partner) == list(range(len(places)))
    assert np.sqrt((distance**2).mean() / 2) < 0.12


def test_of_two_kinds_at_one_place_the_surer_stays() -> None:
    maps = 0.6 * marks((32, 32), np.array([[15.0, 15.0]]), np.array([False]))
    maps += 0.9 * marks((32, 32), np.array([[16.0, 15.0]]), np.array([True]))
    found = peaks(maps)
    assert len(found) == 1
    assert found.excess[0]
    assert found.zoomed(0.5).places[0] == pytest.approx(found.places[0] / 2)


def test_nothing_is_found_in_nothing() -> None:
    found = peaks(np.zeros((2, 32, 32), np.float32))
    assert len(found) == 0
    assert np.isnan(scores([found], [(np.zeros((0, 2)), np.zeros(0, bool))])["f1"])


def test_calibration_makes_probabilities_true() -> None:
    """Heights that say too much: a find of height h is a defect with probability h⁴."""
    rng = np.random.default_rng(3)
    found, truth = [], []
    for _ in range(40):
        grid = np.mgrid[8:92:12, 8:92:12].reshape(2, -1).T.astype(float)
        height = rng.uniform(0.1, 0.99, len(grid))
        maps = sum(
            h * marks((96, 96), place[None], np.array([False]))
            for place, h in zip(grid, height, strict=True)
        )
        found.append(peaks(maps.astype(np.float32)))
        truth.append((grid[rng.random(len(grid)) < height**4], None))
    pairs = [(places, np.zeros(len(places), bool)) for places, _ in truth]
    before = scores(found[20:], pairs[20:])
    numbers = calibrated_from(found[:20], pairs[:20])
    again = [peaks(_map_of(one), calibration=numbers, lowest=0.0) for one in found[20:]]
    after = scores(again, pairs[20:])
    assert before["calibration_error"] > 0.2
    assert after["calibration_error"] < 0.07
    assert numbers["place_error"] < 0.05


def _map_of(found: object) -> np.ndarray:
    parts = zip(found.places, found.height, strict=True)  # type: ignore[attr-defined]
    maps = [h * marks((96, 96), place[None], np.array([False])) for place, h in parts]
    return np.sum(maps, axis=0).astype(np.float32)


def test_the_calibration_error_is_the_mean_distance() -> None:
    said = np.array([0.9, 0.9, 0.9, 0.9, 0.3, 0.3])
    right = np.array([True, True, True, False, False, False])
    assert calibration_error(said, right) == pytest.approx((4 * 0.15 + 2 * 0.3) / 6)


def test_a_find_is_one_defect_only() -> None:
    places = np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]])
    kinds = np.array([True, True, True])
    partner, distance = matched(places, kinds, np.array([[0.2, 0.0]]), kinds[:1], 3.0)
    assert partner.tolist() == [0, -1, -1]
    assert distance[0] == pytest.approx(0.2)
    other, _ = matched(places, kinds, np.array([[0.2, 0.0]]), ~kinds[:1], 3.0)
    assert (other == -1).all()
