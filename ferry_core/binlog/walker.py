"""Row walkers: functions that step over the row images of one event and return the raw bytes of each row's key.

Each walker is source code generated for one table map and one set of column bitmaps, compiled with ``exec``. A loop
that looks up widths per column handles 30,000 rows a second, the generated straight-line code over 200,000
(bench/key_walk.py). The only values from a server in the generated text are numbers. Used by ``tracked``.
"""

from collections.abc import Callable, Sequence
from typing import cast

from ferry_core.binlog.table_map import JSON, WireColumn

Walker = Callable[[bytes, int, int], list[bytes]]
"""``(data, start, end)`` -> raw keys. Raises ValueError or IndexError if the images do not end at ``end``,
and NullInKey.
"""


class NullInKey(Exception):
    """A row has NULL in a key column."""


class _Image:
    """Emits the code that steps over one image of a row and leaves its key columns in variables."""

    def __init__(
        self,
        columns: Sequence[WireColumn],
        present: Sequence[int],
        groups: Sequence[Sequence[int]],
        name: str,
        *,
        without_null: bool = True,
    ) -> None:
        """``without_null``: rows with NULL in a column of ``groups`` are refused."""
        self._columns = columns
        self._present = present
        self._name = name
        key = {ordinal for group in groups for ordinal in group if columns[ordinal].nullable and without_null}
        self._refused = sum(1 << bit for bit, ordinal in enumerate(present) if ordinal in key)
        self._ends = {group[-1]: at for at, group in enumerate(groups)}
        self._starts = {group[0]: at for at, group in enumerate(groups)}

    def code(self) -> list[str]:
        """Null bitmap, then a fast path for rows without NULL and a slower one for the others."""
        width = (len(self._present) + 7) // 8
        if not width:
            return []
        parts = [f"d[p + {i}] << {8 * i}" if i else "d[p]" for i in range(width)]
        bitmap = " | ".join(parts) if width <= 3 else f"whole(d[p:p + {width}], 'little')"
        nullable = sum(1 << i for i, ordinal in enumerate(self._present) if self._columns[ordinal].nullable)
        if not nullable:
            return self._path(width, careful=False)
        return [
            f"n = ({bitmap}) & {nullable:#x}",
            "if not n:",
            *(f"    {line}" for line in self._path(width, careful=False)),
            "else:",
            *([f"    if n & {self._refused:#x}: null()"] if self._refused else []),
            *(f"    {line}" for line in self._path(width, careful=True)),
        ]

    def _path(self, ahead: int, *, careful: bool) -> list[str]:
        lines: list[str] = []
        for bit, ordinal in enumerate(self._present):
            column = self._columns[ordinal]
            if ordinal in self._starts:
                lines.append(f"s = p + {ahead}")
            if careful and column.nullable:
                if ahead:
                    lines.append(f"p += {ahead}")
                    ahead = 0
                lines.append(f"if not n & {1 << bit:#x}: {self._step(column, 0)}")
            elif column.prefix:
                lines.append(self._step(column, ahead))
                ahead = 0
            else:
                ahead += column.width
            if ordinal in self._ends:
                lines.append(f"{self._name}{self._ends[ordinal]} = d[s:p + {ahead}]")
        return [*lines, f"p += {ahead}"]

    @staticmethod
    def _step(column: WireColumn, ahead: int) -> str:
        if not column.prefix:
            return f"p += {column.width}"
        length = " + ".join(
            f"(d[p + {ahead + i}] << {8 * i})" if i else f"d[p + {ahead}]" for i in range(column.prefix)
        )
        return f"p += {ahead + column.prefix} + {length}"


def _grouped(key: Sequence[int]) -> list[list[int]]:
    """Cut out neighbouring key columns with one slice."""
    groups: list[list[int]] = []
    for ordinal in key:
        if groups and groups[-1][-1] + 1 == ordinal:
            groups[-1].append(ordinal)
        else:
            groups.append([ordinal])
    return groups


def single_image_source(columns: Sequence[WireColumn], key: Sequence[int], present: Sequence[int]) -> str:
    """For inserts and deletes."""
    groups = _grouped(key)
    body = _Image(columns, present, groups, "a").code()
    return _function([*body, f"add({' + '.join(f'a{i}' for i in range(len(groups)))})"])


def _between(columns: Sequence[WireColumn], *, partial: bool) -> list[str]:
    """Before an after image of a partial JSON update: options, and if they say so a bit for each JSON column.

    A value whose bit is set is a difference, of a length like any other value's.
    """
    if not partial:
        return []
    bits = (sum(column.type == JSON for column in columns) + 7) // 8
    return ["if d[p] > 1: raise ValueError('unknown options')", f"p += 1 + {bits} * d[p]"]


def double_image_source(
    columns: Sequence[WireColumn],
    key: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    *,
    partial: bool = False,
) -> str:
    """For updates: the old key, and the new key if it differs. A MINIMAL after image overlays the before image."""
    changed = [ordinal for ordinal in key if ordinal in set(after)]
    groups = _grouped(key) if len(changed) in (0, len(key)) else [[ordinal] for ordinal in key]
    old = [f"a{i}" for i in range(len(groups))]
    body = _Image(columns, before, groups, "a").code()
    if not changed:
        rest = [*_between(columns, partial=partial), *_Image(columns, after, [], "b").code()]
        return _function([*body, f"add({' + '.join(old)})", *rest])
    new_groups = groups if len(changed) == len(key) else [[ordinal] for ordinal in changed]
    names = {tuple(group): f"b{i}" for i, group in enumerate(new_groups)}
    new = [names.get(tuple(group), f"a{i}") for i, group in enumerate(groups)]
    return _function(
        [
            *body,
            *_between(columns, partial=partial),
            *_Image(columns, after, new_groups, "b").code(),
            f"k = {' + '.join(old)}",
            "add(k)",
            f"j = {' + '.join(new)}",
            "if j != k: add(j)",
        ]
    )


def values_source(columns: Sequence[WireColumn], chosen: Sequence[int], present: Sequence[int]) -> str:
    """For inserts and deletes: the values of ``chosen``, of rows in which none of them is NULL."""
    # One column a group: a NULL is an empty text then, and no value is.
    names = [f"a{i}" for i in range(len(chosen))]
    body = _Image(columns, present, [[ordinal] for ordinal in chosen], "a", without_null=False).code()
    return _function([*body, f"if {' and '.join(names)}: add({' + '.join(names)})"])


def changed_values_source(
    columns: Sequence[WireColumn],
    chosen: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    *,
    partial: bool = False,
) -> str:
    """For updates: the old values and the new ones, of rows in which they differ."""
    kept = [ordinal for ordinal in chosen if ordinal in set(after)]
    old = [f"a{i}" for i in range(len(chosen))]
    new = [f"b{kept.index(ordinal)}" if ordinal in kept else f"a{i}" for i, ordinal in enumerate(chosen)]
    return _function(
        [
            *_Image(columns, before, [[ordinal] for ordinal in chosen], "a", without_null=False).code(),
            *_between(columns, partial=partial),
            *_Image(columns, after, [[ordinal] for ordinal in kept], "b", without_null=False).code(),
            f"if {' or '.join(f'{one} != {other}' for one, other in zip(old, new, strict=True))}:",
            f"    if {' and '.join(old)}: add({' + '.join(old)})",
            f"    if {' and '.join(new)}: add({' + '.join(new)})",
        ]
    )


def _function(body: list[str]) -> str:
    return "\n".join(
        [
            "def walk(d, p, end):",
            "    keys = []",
            "    add = keys.append",
            "    while p < end:",
            *(f"        {line}" for line in body),
            "    if p != end:",
            "        raise ValueError(f'row images end at {p}, not {end}')",
            "    return keys",
        ]
    )


def _null() -> None:
    raise NullInKey


def compiled(source: str) -> Walker:
    """The function defined by ``source``."""
    names: dict[str, object] = {"whole": int.from_bytes, "null": _null}
    exec(compile(source, "<row walker>", "exec"), names)  # noqa: S102 - see the module's docstring
    return cast("Walker", names["walk"])
