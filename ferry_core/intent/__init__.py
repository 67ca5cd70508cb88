"""What people and operators want of a run: one value, changed under one lock and read by whoever acts on it."""
