"""Files of maps: read and saved, each format in a module."""
