"""Sphinx configuration."""

from importlib.metadata import version as _version

project = "napari-diffmap"
copyright = "napari-diffmap developers"  # noqa: A001
release = _version("napari-diffmap")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
# Signatures are shown as written: forward references need not be importable.
nitpicky = False
html_theme = "furo"
html_title = "napari-diffmap"
html_static_path = []
