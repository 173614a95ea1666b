"""Label maps: made, changed, named, saved."""
