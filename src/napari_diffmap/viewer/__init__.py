"""Scans and maps as napari layers in two viewer models: the sample and the pattern; no Qt."""
