"""Stops writes on the source for the cutover, and finds what prevents that. Knows nothing of phases."""
