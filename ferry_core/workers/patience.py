"""For how long a step is tried again. Imports nothing: the command line needs it at its start."""

RETRY_SECONDS = 120.0
"""How long one step is retried before the run stops (exit 75, resumable)."""
