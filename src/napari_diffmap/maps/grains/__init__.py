"""Grains: found, measured, joined across twins, written as tables."""
