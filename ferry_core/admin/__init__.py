"""Abort and cleanup: act on the databases of a Ferry without a running copier. Called by the CLI."""
