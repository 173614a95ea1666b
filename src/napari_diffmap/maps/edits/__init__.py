"""Corrections of a map by hand: edits, their record, and the map with them."""
