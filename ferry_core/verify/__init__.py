"""Verification: are the rows on the target those on the source? Answered while writes go on, by both servers.

``Verifier`` is the front of the room; docs/verification.md tells the rule by which something counts as proven.
Called by the coordinator and, for every changed key, by the change path.
"""
