"""What people and operators want of a run: one value, set under one lock and pulled by whoever acts on it."""
