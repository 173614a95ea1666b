"""Boundaries between pixels: found, drawn as lines, named by twin and coincidence law."""
