"""What is explored of the replication model, with every rule on."""

from tests.model.config import Config

UNIQUE = Config()
THREE_VALUES = Config(values="abc")
PLAIN = Config(values="")
THREE_KEYS = Config(keys=3, values="abc", initial=("abc", "ab-", "a-b"))
EQUAL_KEYS = Config(keys=3, values="", classes=(0, 0, 2), chunks=((0, 1), (2,)), initial=("x--", "--x", "x-x"))
"""Keys 'a', 'A' and 'b' of a collation that ignores case."""
DEFINITIONS = Config(keys=1, values="", chunks=((0,),), initial=("x",), ddl=True)
WHOLE = Config(keys=2, values="", whole=True, initial=("x-",))
LOSING_SOURCE = Config(keys=1, values="", chunks=((0,),), source_loses=True, crash=False, faults=1)
LOSING_TARGET = Config(keys=2, values="", initial=("x-",), target_loses=True, crash=False, faults=1)


SAFE = {
    "unique, 1 transaction, 1 kill": UNIQUE.but(transactions=1, faults=1),
    "unique, 2 transactions": UNIQUE.but(initial=("ab",)),
    "unique, locking reads": UNIQUE.but(locking_reads=True, initial=("a-",)),
    "unique, lost connection": UNIQUE.but(transactions=1, faults=1, crash=False, lost=True),
    "unique, Recopy": UNIQUE.but(transactions=1, faults=1, crash=False, recopy=True),
    "unique, lost checkpoint": UNIQUE.but(transactions=1, faults=1, crash=False, forget=True),
    "unique, XA": UNIQUE.but(transactions=1, xa=True, initial=("a-", "ab")),
    "unique, XA lost by a crash": UNIQUE.but(
        transactions=1, faults=1, crash=False, xa=True, xa_dropped=True, initial=("a-",)
    ),
    "plain, gate for rows": PLAIN.but(gate="rows", initial=("x-",)),
    "row filter": PLAIN.but(row_filter=True, initial=("x-",)),
    "equal keys": EQUAL_KEYS.but(initial=("x--",)),
    "definitions": DEFINITIONS.but(faults=1),
    "whole table": WHOLE.but(faults=1),
    "source loses its tail": LOSING_SOURCE.but(verify=True),
    "target loses commits": LOSING_TARGET.but(transactions=1),
    "target loses commits, state in a file": LOSING_TARGET.but(transactions=1, store="file"),
    "another server": UNIQUE.but(transactions=1, faults=1, crash=False, other_server=True),
}
"""Explored completely by ``make test``."""

NOT_DETECTED = {
    "source loses rows that were read before their events; nothing is verified": LOSING_SOURCE,
    "source loses its tail, and the copier is killed before a checkpoint; nothing is verified": LOSING_SOURCE.but(
        crash=True, faults=2
    ),
}
"""What docs/correctness.md names as not detected: the explorer must find it."""

BIG = {
    "unique, 1 transaction, 2 faults of any kind": THREE_VALUES.but(
        transactions=1, faults=2, forget=True, lost=True, recopy=True
    ),
    "unique, 2 transactions, 1 kill": UNIQUE.but(faults=1),
    "unique, 3 transactions": UNIQUE.but(transactions=3),
    "unique, 2 transactions, XA": UNIQUE.but(xa=True),
    "unique, 1 transaction, XA, 1 kill": UNIQUE.but(transactions=1, faults=1, xa=True),
    "unique, locking reads, 1 kill": UNIQUE.but(faults=1, locking_reads=True),
    "unique, 3 keys": THREE_KEYS,
    "plain, gate for rows, 3 transactions, 1 kill": PLAIN.but(transactions=3, faults=1, gate="rows"),
    "plain, 4 transactions": PLAIN.but(transactions=4),
    "row filter, unique, 1 kill": UNIQUE.but(row_filter=True, faults=1),
    "equal keys, 1 kill": EQUAL_KEYS.but(faults=1),
    "definitions, 4 transactions, 2 kills": DEFINITIONS.but(transactions=4, faults=2),
    "whole table, 3 transactions, 2 faults": WHOLE.but(transactions=3, faults=2, lost=True),
    "source loses its tail, 2 keys, 2 faults": LOSING_SOURCE.but(
        keys=2, chunks=(), faults=2, verify=True, initial=("x-",)
    ),
    "target loses commits, 2 transactions, 2 faults": LOSING_TARGET.but(faults=2, crash=True),
    "target loses commits, state in a file, 2 faults": LOSING_TARGET.but(faults=2, crash=True, store="file"),
}
"""Explored by ``make model``, some of them not to their end."""

_EVERYTHING = THREE_KEYS.but(transactions=4, faults=2, forget=True, lost=True, recopy=True, xa=True, row_filter=True)
WALKS = {
    "unique": _EVERYTHING,
    "plain, gate for rows": _EVERYTHING.but(values="", gate="rows", initial=("xxx", "xx-", "-x-")),
    "unique, 4 chunks": _EVERYTHING.but(
        keys=4, values="abcd", chunks=((0,), (1,), (2,), (3,)), initial=("abcd", "ab--", "a-c-")
    ),
    "unique, locking reads": _EVERYTHING.but(locking_reads=True, xa_recover=False),
    "equal keys": EQUAL_KEYS.but(transactions=3, faults=2, lost=True),
}
"""At random, by ``make model``."""
