"""How a map is found: one folder a method."""
