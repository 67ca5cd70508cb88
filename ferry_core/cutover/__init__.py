"""Stopping writes on the source for the cutover, and knowing what stands in the way of it. Knows no phases."""
