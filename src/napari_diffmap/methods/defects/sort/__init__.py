"""Finds sorted into classes: by site, or by what they look like; complexes of neighbours."""
