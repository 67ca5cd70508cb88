"""Takes the values of rows out of what a server says: messages end in logs, Events and the status.

Called by ``faults`` and ``session``.

The texts are those of MySQL 9.7 and MariaDB 10.11. Other numbers quote names only, or a text that an author of the
database chose (SIGNAL).
"""

import re

_ENTRY = re.compile(r"(?<=entry )'.*'(?= for key)", re.DOTALL)
_VALUE = re.compile(r"(?<=value: )'.*'(?= for column | for function |$)", re.DOTALL)
_PARTITION = re.compile(r"(?<=for value ).*", re.DOTALL)
_PARSED = re.compile(r"'.*'(?= value found)", re.DOTALL)
_EXPRESSION = re.compile(r"(?<=out of range in )'.*'", re.DOTALL)

_PLACES = {
    **dict.fromkeys((1062, 1586, 1859), _ENTRY),
    **dict.fromkeys((1292, 1366, 1411, 1525), _VALUE),
    **dict.fromkeys((1526, 3964), _PARTITION),
    1367: _PARSED,
    1690: _EXPRESSION,
}
LEFT_OUT = "(not shown)"


def without_values(code: int, text: str) -> str:
    """The message of error or warning ``code`` without the values that it quotes."""
    place = _PLACES.get(code)
    return place.sub(LEFT_OUT, text) if place is not None else text
