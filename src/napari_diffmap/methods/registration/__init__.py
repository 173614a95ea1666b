"""Diffraction spots: found in patterns, kept as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_diffmap.methods.registration.parameters import RegistrationParameters

if TYPE_CHECKING:
    from napari_diffmap.methods.registration.method import RegistrationMethod

__all__ = ["RegistrationMethod", "RegistrationParameters"]


def __getattr__(name: str) -> Any:
    # A form needs the parameters alone: the finder brings torch.
    if name == "RegistrationMethod":
        from napari_diffmap.methods.registration.method import RegistrationMethod

        return RegistrationMethod
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
