"""Poles and the densities of orientations."""
