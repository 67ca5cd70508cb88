"""Stopping writes on the source for the hand-over, and knowing what stands in the way of it. Knows no phases."""
