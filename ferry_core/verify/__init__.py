"""Verification: compares the rows of target and source on both servers, while writes continue.

``Verifier`` is the entry point of the package; docs/verification.md explains when a row counts as proven. Used by the
coordinator and, for every changed key, by the change path.
"""
