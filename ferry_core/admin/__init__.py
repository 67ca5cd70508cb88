"""Abort, cleanup and comparison: use the databases of a Ferry without a running copier. Called by the CLI."""
