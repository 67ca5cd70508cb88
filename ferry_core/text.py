"""Text of messages: numbers with their nouns, lists that end with the number of further items, addresses, and names
that cannot forge a line.

Used wherever a message names many things, and where text reaches a log or a terminal.
"""

import ipaddress
from collections.abc import Collection
from itertools import islice


def shortlist(items: Collection[object], most: int, separator: str = ", ", rest: str = "more") -> str:
    """``a, b and 3 more``."""
    shown = separator.join(map(str, islice(items, most)))
    left = len(items) - most
    return f"{shown} and {left} {rest}" if left > 0 else shown


def host_port(host: str, port: int) -> str:
    """``host:port``; an IPv6 address is in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether the address is reachable only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def server_address(host: str | None, port: int, socket: str | None) -> str:
    """The path of the Unix socket, or ``host:port``."""
    return socket or host_port(host or "", port)


def counted(number: int, noun: str) -> str:
    """``1 table``, ``1234 tables``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def agreeing(number: int, noun: str, verb: str) -> str:
    """``1 row differs``, ``2 rows differ``."""
    return f"{counted(number, noun)} {verb}{'s' if number == 1 else ''}"


def printable(text: str) -> str:
    r"""Without line breaks or other control characters, which names of tables and errors of servers may contain.

    They become escapes such as ``\n`` or ``\x1b``: otherwise a table's name could forge a line of the log or control
    the terminal.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )
