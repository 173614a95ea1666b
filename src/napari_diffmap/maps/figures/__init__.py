"""Pictures of maps with keys, legends and captions; the report."""
