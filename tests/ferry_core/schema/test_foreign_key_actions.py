"""Which foreign keys count as the same on both servers."""

from ferry_core.schema.definition import parse
from ferry_core.schema.foreign_keys import content
from ferry_core.tables.table import TableName

NAME = TableName("s", "t")


def of(actions: str) -> tuple[object, ...]:
    key = f"CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `p` (`id`){actions}"
    return content(parse(f"CREATE TABLE `t` (\n  `a` int,\n  {key}\n) ENGINE=InnoDB", NAME).foreign_keys[0])


def test_restrict_and_no_action_are_one() -> None:
    """MySQL prints what was written, MariaDB leaves out RESTRICT."""
    assert of(" ON DELETE RESTRICT ON UPDATE NO ACTION") == of("")
    assert of(" ON DELETE CASCADE") != of("")
    assert of(" ON UPDATE SET NULL") != of(" ON UPDATE RESTRICT")
