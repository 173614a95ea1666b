"""Networks that mark defects pixel by pixel: what they are, how they learn, what they say."""
