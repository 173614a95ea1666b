"""Gaussian-mixture variational autoencoders: clusters of spectra in a latent space, an ensemble.

p(y) = Cat(π), p(z|y) = N(μ_y, σ_y²), p(x|z) = N(f(z), σ_x²), with q(z|x) = N(g(x), s(x)²) and
q(y|x) = p(y|z), the mixture's own posterior (variational deep embedding; Jiang et al. 2017,
*IJCAI*, arXiv:1611.05148; the mixture prior after Dilokthanakul et al. 2016, arXiv:1611.02648).
The reconstruction is weighed with the Poisson error of every value, and energies that were not
measured have no weight.  A single autoencoder merges neighbours differently with every start, so
several are trained and their clusters are joined into a consensus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.method import Report
from napari_diffmap.methods.spectra.clusters import Clusters, fitted, named, shapes
from napari_diffmap.methods.spectra.normal import Floats

#: Latent and hidden sizes.
_LATENT, _HIDDEN = 3, 96
_BATCH = 512
#: Spectra that an autoencoder is trained on.
_TRAINED = 8192
#: Share of the epochs in which the mixture does not count yet.
_WARM_UP = 0.3
_RATE = 2e-3


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Trained autoencoders, and how their clusters belong together.

    Attributes
    ----------
    states
        Weights of each.
    groups
        For each, the consensus cluster ``(K,)`` of its clusters.
    n_groups
        Consensus clusters.
    size
        Energies.
    clusters
        Of the pixels that it was trained on, in consensus.
    stability
        ``(P,)`` mean probability with which a member agrees with the consensus.
    effective
        Effective number of clusters of each member.
    loss
        Last loss of each member.
    """

    states: tuple[dict[str, Any], ...]
    groups: tuple[NDArray[np.intp], ...]
    n_groups: int
    size: int
    clusters: Clusters
    stability: Floats
    effective: Floats
    loss: Floats

    def membership(self, od: NDArray[np.floating], weights: NDArray[np.floating]) -> Floats:
        """Consensus membership of other spectra ``(P, n_groups)``."""
        shape, error = shapes(od, weights)
        parts = []
        for state, group in zip(self.states, self.groups, strict=True):
            model = _Autoencoder(self.size, len(group))
            model.net.load_state_dict(state)
            parts.append(_grouped(model.membership(shape, error), group, self.n_groups))
        return np.asarray(np.mean(parts, axis=0))


def train_ensemble(
    od: NDArray[np.floating],
    weights: NDArray[np.floating],
    curves: Floats,
    n_clusters: int,
    *,
    seeds: int = 5,
    epochs: int = 40,
    seed: int = 0,
    device: str = "cpu",
    progress: Report | None = None,
    check: Callable[[], object] | None = None,
) -> Ensemble:
    """Train autoencoders from several starts and join their clusters.

    Parameters
    ----------
    od, weights
        ``(P, E)`` optical densities and 1/variance, 0 where unknown.
    curves
        References ``(M, E)``, which name the clusters.
    n_clusters
        Of each autoencoder.
    seeds, epochs, seed
        Number of starts, passes over the spectra, first random seed.
    device
        Of torch.
    progress
        Told the epochs done.
    check
        Called every epoch; may raise, which ends the training.
    """
    shape, error = shapes(od, weights)
    members, memberships, effective, losses = [], [], [], []
    for number in range(seeds):
        model = _Autoencoder(shape.shape[1], n_clusters, seed + number, device)

        def told(epoch: int, number: int = number) -> None:
            if check is not None:
                check()
            if progress is not None:
                progress(number * epochs + epoch, seeds * epochs, "training autoencoders")

        with _one_thread(device):
            losses.append(model.train(shape, error, epochs, seed + number, told))
        members.append(model.state())
        membership = model.membership(shape, error)
        memberships.append(membership)
        share = np.clip(membership.mean(axis=0), 1e-12, 1)
        effective.append(float(np.exp(-(share * np.log(share)).sum())))
    groups, n = _consensus(memberships, max(2, round(float(np.median(effective)))))
    parts = [_grouped(m, g, n) for m, g in zip(memberships, groups, strict=True)]
    together = np.asarray(np.mean(parts, axis=0))
    chosen = together.argmax(axis=1)
    rows = np.arange(len(chosen))
    stability = np.mean([part[rows, chosen] for part in parts], axis=0)
    return Ensemble(
        tuple(members),
        tuple(groups),
        n,
        shape.shape[1],
        named(together, od, weights, curves),
        np.asarray(stability),
        np.array(effective),
        np.array(losses),
    )


@contextmanager
def _one_thread(device: str) -> Iterator[None]:
    """On a processor one thread: steps this small cost more in waiting for each other."""
    import torch

    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _grouped(membership: Floats, group: NDArray[np.intp], n: int) -> Floats:
    joined = np.zeros((len(membership), n))
    for k, g in enumerate(group):
        joined[:, g] += membership[:, k]
    return joined


def _consensus(memberships: list[Floats], n: int) -> tuple[list[NDArray[np.intp]], int]:
    """Which clusters of different members are the same: those that hold the same pixels.

    Clusters of all members are joined by average linkage of the cosine of their memberships
    (meta-clustering; Strehl & Ghosh 2002, *J. Mach. Learn. Res.* 3, 583).
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    columns = np.concatenate(memberships, axis=1)
    size = np.linalg.norm(columns, axis=0)
    used = size > 1e-6 * np.sqrt(len(columns))
    kept = columns[:, used] / size[used]
    groups = np.zeros(columns.shape[1], dtype=np.intp)
    if kept.shape[1] > 1:
        distance = np.clip(1 - kept.T @ kept, 0, 1)
        np.fill_diagonal(distance, 0)
        tree = linkage(squareform(distance, checks=False), "average")
        groups[used] = fcluster(tree, n, "maxclust") - 1
    ends = np.cumsum([m.shape[1] for m in memberships])[:-1]
    return [np.asarray(part) for part in np.split(groups, ends)], int(groups.max()) + 1


class _Autoencoder:
    """One autoencoder with a mixture prior."""

    def __init__(self, size: int, n_clusters: int, seed: int = 0, device: str = "cpu") -> None:
        import torch
        from torch import nn

        generator = torch.Generator().manual_seed(seed)
        self.device = device

        def layers(*sizes: int) -> nn.Sequential:
            made: list[nn.Module] = []
            for i, (a, b) in enumerate(pairwise(sizes)):
                linear = nn.Linear(a, b)
                bound = (6 / (a + b)) ** 0.5
                with torch.no_grad():
                    linear.weight.uniform_(-bound, bound, generator=generator)
                    linear.bias.zero_()
                made.append(linear)
                if i < len(sizes) - 2:
                    made.append(nn.SiLU())
            return nn.Sequential(*made)

        net = nn.Module()
        net.encode = layers(2 * size, _HIDDEN, _HIDDEN, 2 * _LATENT)
        net.decode = layers(_LATENT, _HIDDEN, _HIDDEN, size)
        net.register_parameter("mean", nn.Parameter(torch.zeros(n_clusters, _LATENT)))
        net.register_parameter("log_var", nn.Parameter(torch.zeros(n_clusters, _LATENT)))
        net.register_parameter("logit", nn.Parameter(torch.zeros(n_clusters)))
        self.net: Any = net.to(device)

    def state(self) -> dict[str, Any]:
        """Weights, on the processor."""
        return {name: value.detach().cpu() for name, value in self.net.state_dict().items()}

    def _input(self, shape: Any, error: Any) -> Any:
        """Spectra as the encoder takes them: values, and which of them are known."""
        import torch

        known = torch.isfinite(error).float()
        return torch.cat((shape * known, known), dim=-1)

    def train(
        self,
        shape: NDArray[np.floating],
        error: NDArray[np.floating],
        epochs: int,
        seed: int,
        told: Callable[[int], None],
    ) -> float:
        """Fit to spectra ``(P, E)`` with their errors; returns the last epoch's loss."""
        import torch

        from napari_diffmap.models.one_llvm import one_llvm

        generator = torch.Generator().manual_seed(seed)
        rng = np.random.default_rng(seed)
        some = rng.permutation(len(shape))[:_TRAINED]
        x = torch.as_tensor(shape[some], dtype=torch.float32, device=self.device)
        s = torch.as_tensor(error[some], dtype=torch.float32, device=self.device)
        weight = torch.where(torch.isfinite(s), 1 / s.clamp(min=1e-3) ** 2, torch.zeros_like(s))
        # Very well measured spectra differ by more than their noise: shapes are not that exact.
        weight = weight.clamp(max=float(weight[weight > 0].median()) * 10)
        inputs = self._input(x, s)
        with one_llvm():
            optimiser = torch.optim.Adam(self.net.parameters(), lr=_RATE)
        warm = max(1, round(_WARM_UP * epochs))
        loss_value = float("nan")
        for epoch in range(epochs):
            if epoch == warm:
                self._start_mixture(inputs, seed)
            order = torch.randperm(len(x), generator=generator)
            total = 0.0
            for start in range(0, len(x), _BATCH):
                rows = order[start : start + _BATCH].to(self.device)
                loss = self._loss(inputs[rows], x[rows], weight[rows], epoch >= warm, generator)
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
                optimiser.step()
                total += float(loss.detach()) * len(rows)
            loss_value = total / len(x)
            told(epoch + 1)
        return loss_value

    def _loss(self, inputs: Any, x: Any, weight: Any, mixture: bool, generator: Any) -> Any:
        import torch

        mean, log_var = self.net.encode(inputs).chunk(2, dim=-1)
        log_var = log_var.clamp(-10, 6)
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        z = mean + noise * (0.5 * log_var).exp()
        misfit = 0.5 * (weight * (self.net.decode(z) - x) ** 2).sum(dim=-1)
        if not mixture:
            away = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(dim=-1)
            return (misfit + 0.1 * away).mean()
        q = self._posterior(z)
        m, v = self.net.mean, self.net.log_var
        prior = self.net.logit.log_softmax(dim=0)
        away = 0.5 * (
            v[None]
            - log_var[:, None]
            - 1
            + (log_var[:, None].exp() + (mean[:, None] - m[None]) ** 2) / v.exp()[None]
        ).sum(dim=-1)
        mixing = (q * (q.clamp(min=1e-9).log() - prior[None])).sum(dim=-1)
        return (misfit + (q * away).sum(dim=-1) + mixing).mean()

    def _posterior(self, z: Any) -> Any:
        """p(y|z) ``(B, K)``."""
        v = self.net.log_var
        distance = ((z[:, None] - self.net.mean[None]) ** 2 / v.exp()[None] + v[None]).sum(dim=-1)
        return (self.net.logit.log_softmax(dim=0)[None] - 0.5 * distance).softmax(dim=-1)

    def _start_mixture(self, inputs: Any, seed: int) -> None:
        """Begin with a mixture fitted to the latent places of the spectra."""
        import torch
        from sklearn.mixture import GaussianMixture

        with torch.no_grad():
            z = self.net.encode(inputs[:4096]).chunk(2, dim=-1)[0].cpu().numpy().astype(float)
        k = len(self.net.logit)
        if len(z) <= k:
            return
        mixture = GaussianMixture(
            k, covariance_type="diag", reg_covar=1e-3, max_iter=40, random_state=seed
        )
        fitted(mixture, z)
        with torch.no_grad():
            put = {
                "mean": mixture.means_,
                "log_var": np.log(mixture.covariances_),
                "logit": np.log(mixture.weights_ + 1e-6),
            }
            for name, values in put.items():
                getattr(self.net, name).copy_(torch.as_tensor(values, dtype=torch.float32))

    def membership(self, shape: NDArray[np.floating], error: NDArray[np.floating]) -> Floats:
        """q(y|x) at the mean of q(z|x) ``(P, K)``."""
        import torch

        parts = []
        with torch.no_grad():
            for start in range(0, len(shape), 16384):
                x = torch.as_tensor(shape[start : start + 16384], dtype=torch.float32)
                s = torch.as_tensor(error[start : start + 16384], dtype=torch.float32)
                inputs = self._input(x, s).to(self.device)
                mean, _ = self.net.encode(inputs).chunk(2, dim=-1)
                parts.append(self._posterior(mean).cpu().numpy())
        return np.asarray(np.concatenate(parts), dtype=np.float64)
