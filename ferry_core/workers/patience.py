"""How long a step is retried. Imports nothing, because the command line needs it at its start."""

RETRY_SECONDS = 120.0
"""How long one step is retried before the run stops (exit 75, resumable)."""
