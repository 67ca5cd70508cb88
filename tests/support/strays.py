"""Connections that a proxy led to another server: nothing but who is there may be asked on them.

Whoever lets a test move an address judges by what was said to the wrong server, not by what it holds afterwards: other
tests use that server too, and what did no harm may do some next time.
"""

from ferry_core.mysql.identity import COLUMNS
from ferry_core.mysql.session import NO_LIMITS
from tests.support.proxy import Proxy

_OF_ITS_OWN_SESSION = ("SET NAMES ", "SET AUTOCOMMIT ", f"SET {NO_LIMITS}", "SET @master_binlog_checksum = ")


def assert_not_used(proxy: Proxy) -> None:
    """No stray connection said more than it had to for knowing that it was one. Only without TLS can that be seen."""
    said = [one for one in proxy.asked_elsewhere() if COLUMNS not in one and not one.startswith(_OF_ITS_OWN_SESSION)]
    assert not said, said
