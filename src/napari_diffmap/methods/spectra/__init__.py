"""Phases of a stack of images over energy (STXM): by spectra of known phases, with doubt."""
