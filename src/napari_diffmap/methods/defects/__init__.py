"""Defects of atomic-resolution images and movies: found, sorted, followed."""
