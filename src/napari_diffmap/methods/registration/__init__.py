"""Diffraction spots: found in patterns, kept as a table."""
