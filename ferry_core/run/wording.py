"""Figures as people read them. Called by ``telling``."""

import hashlib


def at_most_4_kib(gtids: str) -> str:
    """Cut off it would be the name of other transactions: a digest tells at least whether two are the same."""
    return gtids if len(gtids) <= 4096 else f"sha256:{hashlib.sha256(gtids.encode()).hexdigest()}"


def roughly(seconds: float) -> str:
    """A time span for people, in its two largest units."""
    minutes = int(seconds // 60)
    hours, days = minutes // 60, minutes // 1440
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
