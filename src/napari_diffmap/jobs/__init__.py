"""How a method is run: one pipeline over tiles, progress, pause and stop, device queue."""
