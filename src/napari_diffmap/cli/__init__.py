"""The headless front door: every command exists before its window does."""

from napari_diffmap.cli.main import run

__all__ = ["run"]
