"""The networks a model file may name; nothing else is ever built.

Three families of timm, small, on square patterns: a plain convolutional network, a DenseNet
and a Swin Transformer, as the LiNiO2 study compared; and the network on polar patterns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from napari_diffmap.errors import BadInputError
from napari_diffmap.models.modes import ModesHead
from napari_diffmap.models.one_llvm import one_llvm
from napari_diffmap.models.polar import PolarNet

#: Value of an option in a model's card.
Option = int | float | bool | str | tuple[int, ...]

POLAR = "polar"
#: Families of timm that say rotations as modes.
SQUARE = ("cnn", "densenet", "swin")
FAMILIES = (POLAR, *SQUARE)


class ModesNet(nn.Module):
    """A backbone of timm with a head that says rotations."""

    def __init__(self, backbone: nn.Module, width: int, modes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = ModesHead(width, modes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """``(b, channels, size, size)`` to what `ModesHead` says."""
        out: tuple[Tensor, Tensor, Tensor, Tensor] = self.head(self.backbone(x).flatten(1))
        return out


def build(family: str, options: Mapping[str, Option]) -> nn.Module:
    """The untrained network of a family.

    Parameters
    ----------
    family
        One of `FAMILIES`.
    options
        ``channels`` (and ``columns`` of a polar one) as the input is; the rest as the
        family's builder names them.

    Raises
    ------
    BadInputError
        If family or options are unknown.
    """
    builder = _BUILDERS.get(family)
    if builder is None:
        raise BadInputError(
            f"no family of networks {family!r} is known: give one of {', '.join(FAMILIES)}"
        )
    try:
        with one_llvm():
            return builder(**options)
    except TypeError as error:
        raise BadInputError(f"a {family} network cannot be built of {dict(options)}") from error


def _polar(
    channels: int, columns: int, zone_step_deg: float = 0, angles: int = 0, **options: Any
) -> nn.Module:
    """Step and angles say what the columns mean; the network itself needs them not."""
    return PolarNet(channels, columns, **options)


def _cnn(channels: int, width: int = 32, modes: int = 4, size: int = 64) -> nn.Module:
    """Basic residual blocks (timm's ResNet), one a stage."""
    from timm.models.resnet import BasicBlock, ResNet

    widths = (width, 2 * width, 4 * width, 4 * width)
    backbone = ResNet(
        BasicBlock,  # type: ignore[arg-type]  # timm means the class
        (1, 1, 1, 1),
        num_classes=0,
        in_chans=channels,
        channels=widths,
        stem_width=width,
        stem_type="deep",
        global_pool="avgmax",
    )
    return ModesNet(backbone, backbone.num_features, modes)


def _densenet(channels: int, growth: int = 16, modes: int = 4, size: int = 64) -> nn.Module:
    from timm.models.densenet import DenseNet

    backbone = DenseNet(
        growth_rate=growth,
        block_config=(3, 4, 6, 4),
        num_classes=0,
        in_chans=channels,
        global_pool="avgmax",
    )
    return ModesNet(backbone, backbone.num_features, modes)


def _swin(channels: int, width: int = 48, modes: int = 4, size: int = 64) -> nn.Module:
    from timm.models.swin_transformer import SwinTransformer

    backbone = SwinTransformer(
        img_size=size,
        patch_size=4,
        in_chans=channels,
        num_classes=0,
        global_pool="",
        embed_dim=width,
        depths=(2, 2, 2),
        num_heads=(2, 4, 8),
        window_size=4,
        drop_path_rate=0.0,  # every pattern is fresh: nothing to keep it from overfitting to
    )
    # Patches know how they lie to each other, not where: their mean would not tell a place.
    return ModesNet(backbone, (size // 16) ** 2 * backbone.num_features, modes)


_BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    POLAR: _polar,
    "cnn": _cnn,
    "densenet": _densenet,
    "swin": _swin,
}
