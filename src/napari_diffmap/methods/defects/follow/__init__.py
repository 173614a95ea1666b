"""Finds followed through the frames: tracks, diffusion, hops, transitions of classes."""
