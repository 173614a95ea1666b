"""What the sample may be: phases, reflections, simulated patterns."""
