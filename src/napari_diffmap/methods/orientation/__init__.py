"""Orientation and phase maps by template matching."""
