"""Fingerprints of views, routines and events, by which a Ferry recognises those that it created itself.

A name proves nothing: after a kill somebody else may have created an object of that name. Used by ``run.objects`` and
preflight.
"""

import hashlib

from ferry_core.api.choices import Definer
from ferry_core.mysql.literals import identifier
from ferry_core.mysql.session import Session
from ferry_core.schema.objects import Definition


def fingerprint(one: Definition) -> str:
    """Equal for two definitions that mean the same and have the same definer, on either server."""
    return _of(one, one.definer)


def planned_fingerprints(one: Definition, definer: Definer, account: bytes) -> list[str]:
    """Those of an object while it is being created: a view has our account as its definer first, then its real one."""
    definers = {account, one.definer} if definer is Definer.KEEP else {account}
    return sorted(_of(one, each) for each in definers)


def account_clause(session: Session) -> bytes:
    """The DEFINER clause that names the session's account."""
    user, _, host = session.text("SELECT CURRENT_USER()").rpartition("@")
    return f" DEFINER={identifier(user)}@{identifier(host)}".encode()


def _of(one: Definition, definer: bytes) -> str:
    text = repr((*one.comparable(definers=False, statuses=False), definer.replace(b'"', b"`")))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
