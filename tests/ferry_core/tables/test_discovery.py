"""Which tables are selected, with which names and keys; a refusal names all problems at once."""

from collections.abc import Iterator

import pytest

from ferry_core.api.selection import Tables
from ferry_core.errors import ConfigError
from ferry_core.mysql.session import Purpose, Session
from ferry_core.tables.discovery import (
    LEFT_OUT,
    Existing,
    discover,
    explore,
    is_selected,
    misread,
    new_tables,
    rediscover,
    target_name,
    wrong_targets,
)
from ferry_core.tables.keys import Index, choose_key, nullable_keys
from ferry_core.tables.patterns import matches
from ferry_core.tables.table import Column, Key, TableName
from hack.servers import Family
from tests.support.servers import Pair, set_global

NAMES = [TableName("shop", "orders"), TableName("shop", "tmp_a"), TableName("shop2", "orders"), TableName("a.b", "c.d")]


@pytest.fixture
def session(pair: Pair) -> Iterator[Session]:
    with Session(pair.source.endpoint("source"), Purpose.CONTROL) as it:
        yield it


def selection(*include: str, **more: object) -> Tables:
    return Tables.model_validate({"include": list(include), **more})


def test_patterns_match_schema_and_table_apart() -> None:
    assert matches(NAMES[0], "shop.*")
    assert matches(NAMES[0], "s*.o?ders")
    assert not matches(NAMES[2], "shop.*")
    assert not matches(NAMES[0], "SHOP.*")
    assert matches(NAMES[3], "a.b.c.d")
    assert matches(NAMES[3], "*.c.d")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("`a`.`b.c`", [TableName("a", "b.c")]),
        ("a.`b.c`", [TableName("a", "b.c")]),
        ("`a.b`.c", [TableName("a.b", "c")]),
        ("`a.*`.?", [TableName("a.b", "c")]),
        ("`a``b`.*", [TableName("a`b", "c")]),
        ("a`b.*", [TableName("a`b", "c")]),
        ("a.*", [TableName("a", "b.c")]),
        ("a.b.c", [TableName("a", "b.c"), TableName("a.b", "c")]),
    ],
)
def test_backticks_in_a_pattern_decide_which_dot_separates(pattern: str, found: list[TableName]) -> None:
    names = [TableName("a", "b.c"), TableName("a.b", "c"), TableName("a`b", "c")]
    assert [name for name in names if matches(name, pattern)] == found


@pytest.mark.parametrize("where", ["include", "exclude", "rule"])
def test_an_ambiguous_pattern_is_refused(where: str) -> None:
    alike = [TableName("a", "b.c"), TableName("a.b", "c"), TableName("a", "d")]
    wanted = {
        "include": selection("a.b.c"),
        "exclude": selection("a*.*", exclude=["a.b.c"]),
        "rule": selection("a*.*", rules=[{"match": "a.b.c", "where": "1"}]),
    }[where]
    (problem,) = misread(Existing(alike, []), wanted)
    assert problem.reason == "PatternAmbiguous"
    assert "'a.b.c' (`a`.`b.c` or `a.b`.`c`?)" in problem.message
    assert not list(misread(Existing(alike[1:], []), wanted))


@pytest.mark.parametrize(
    "name", [("a", "b.c"), ("a.b", "c"), ("a`", "`b"), ("`a`", "b"), ("a.`b", "c`.d"), ("ä ö", 'q"\\/{}'), (".", "``")]
)
def test_the_text_of_a_name_is_unambiguous(name: tuple[str, str]) -> None:
    assert TableName.parse(str(TableName(*name))) == name
    assert TableName.readings(str(TableName(*name))) == [name]


def test_plain_names_need_no_backticks_and_old_texts_have_every_reading() -> None:
    assert str(TableName("shop", "orders")) == "shop.orders"
    assert TableName.readings("a.b.c") == [TableName("a", "b.c"), TableName("a.b", "c")]
    for text in ("a", ".a", "a.", "`a.b", "a.b.c", "``.a"):
        with pytest.raises(ValueError, match=r"is not schema\.table"):
            TableName.parse(text)


def test_a_rules_target_may_hold_dots_in_backticks() -> None:
    wanted = selection("shop.*", rules=[{"match": "shop.*", "target": "`a.b`.`c``.d`"}])
    assert target_name(NAMES[0], wanted) == TableName("a.b", "c`.d")


def test_excludes_and_names_on_the_target() -> None:
    wanted = selection(
        "shop.*", "shop2.*", exclude=["*.tmp_*"], renameSchemas={"shop": "new"}, rules=[
            {"match": "shop2.*", "target": "x.y"}, {"match": "*.orders", "where": "id > 1"}
        ]
    )  # fmt: skip
    chosen = [name for name in NAMES if is_selected(name, wanted)]
    assert chosen == [NAMES[0], NAMES[2]]
    assert [target_name(name, wanted) for name in chosen] == [TableName("new", "orders"), TableName("x", "y")]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (selection("shop.*", "nix.*", "shop.x?"), "include 'nix.*', include 'shop.x?'"),
        (selection("shop.*", rules=[{"match": "shop2.orders", "where": "1"}]), "rule 'shop2.orders'"),
        (
            selection("shop.*", renameSchemas={"Shop": "new", "shop2": "b"}),
            "renameSchemas 'Shop' (shop?), renameSchemas",
        ),
        (selection("shop.*", exclude=["*.*"]), "NothingSelected"),
        (selection("shop.*", exclude=["shop.tmp", "*.orders"]), "exclude 'shop.tmp'"),
    ],
)
def test_patterns_that_match_nothing_are_refused(wanted: Tables, said: str) -> None:
    assert said in ", ".join(map(str, misread(Existing(NAMES, []), wanted)))


def test_patterns_that_match_something() -> None:
    """Excluding a view has no effect, but it is not a mistake."""
    views = [TableName("shop", "v")]
    wanted = selection("shop.*", exclude=["shop.v", "*.tmp_*"], rules=[{"match": "shop.orders", "where": "1"}])
    assert list(misread(Existing(NAMES, views), wanted)) == []


@pytest.mark.parametrize(
    "schema", ["mysql", "SYS", "information_schema", "performance_schema", "mysql_ferry", "a ", "a\0b"]
)
def test_names_that_no_table_can_have_on_the_target_are_refused(schema: str) -> None:
    for wanted in (
        selection("shop.orders", renameSchemas={"shop": schema}),
        selection("shop.orders", rules=[{"match": "shop.*", "target": f"{schema}.orders"}]),
    ):
        (problem,) = wrong_targets({NAMES[0]: target_name(NAMES[0], wanted)}, folds=False)
        assert problem.reason == "TargetNameInvalid"
        assert f"shop.orders to {schema!r}.'orders'" in problem.message
        assert "\n" not in problem.message
    assert not list(wrong_targets({NAMES[0]: TableName("mysql2", "orders")}, folds=False))


@pytest.mark.parametrize("folds", [True, False])
def test_names_that_differ_in_case_conflict_only_if_the_servers_ignore_case(folds: bool) -> None:
    both = {TableName("shop", name): TableName("shop", name) for name in ("Orders", "orders")}
    assert [problem.reason for problem in wrong_targets(both, folds=folds)] == ["TargetNameTaken"] * folds


def column(
    name: str,
    kind: str,
    *,
    nullable: bool = False,
    generated: bool = False,
    collation: str | None = None,
    size: int = 4,
) -> Column:
    return Column(name, 0, kind, kind, None, collation, nullable, generated, False, size)


def test_the_key_is_the_primary_one_or_unique_over_whole_columns() -> None:
    columns = [
        column("a", "int"),
        column("n", "int", nullable=True),
        column("g", "int", generated=True),
        column("c", "varchar", collation="utf8mb4_unicode_ci"),
        column("b", "varchar", collation="utf8mb4_bin"),
        column("long", "text", collation="utf8mb4_bin", size=65535),
    ]
    whole = Index("whole", ("a", "c"), True, True)
    useless = [
        Index("nullable", ("n",), True, True),
        Index("generated", ("g",), True, True),
        Index("prefix", ("c",), False, True),
        Index("PRIMARY", ("long",), False, True),
        Index("expression", (None,), False, True),
        Index("hidden", ("a",), True, False),
    ]
    assert choose_key(columns, useless) is None
    assert nullable_keys(columns, useless) == [Key("nullable", (columns[1],))]
    key = choose_key(columns, [*useless, whole])
    assert key is not None
    assert (key.index_name, [part.name for part in key.columns]) == ("whole", ["a", "c"])
    by_prefix = Index("ordered", ("a", "b"), False, True)
    assert choose_key(columns, [by_prefix, *useless]) == Key("ordered", (columns[0], columns[4]), prefixed=True)
    assert choose_key(columns, [by_prefix, whole]) == key
    primary = choose_key(columns, [whole, Index("PRIMARY", ("g",), True, True)])
    assert primary is not None
    assert primary.index_name == "PRIMARY"


def test_descriptions_of_tables_match_the_server(pair: Pair, session: Session, schema: str) -> None:
    mysql = pair.family is Family.MYSQL
    hidden = "INVISIBLE" if mysql else "IGNORED"
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE t (id BIGINT UNSIGNED, e ENUM('a', 'b') NOT NULL, g INT AS (id + 1) VIRTUAL, "
        "d INT DEFAULT (1 + 1), h INT INVISIBLE DEFAULT 3, w VARCHAR(10) CHARACTER SET gbk, "
        "`od``d,` BINARY(4) NOT NULL, UNIQUE z_key (`od``d,`, e), UNIQUE b_nullable (w), "
        f"UNIQUE c_prefix (`od``d,`(2)), UNIQUE a_hidden (e) {hidden}, UNIQUE m_first (e, `od``d,`))",
        "CREATE VIEW v AS SELECT 1 AS one",
    )
    table = discover(session, selection(f"{schema}.*"))[0]
    assert table.source.name == "t"
    assert table.key.index_name == "m_first"
    assert [part.name for part in table.key.columns] == ["e", "od`d,"]
    assert table.secondary_unique
    by_name = {one.name: one for one in table.columns}
    assert [one.name for one in table.columns if one.generated] == ["g"]
    assert [one.name for one in table.columns if one.invisible] == ["h"]
    assert [one.ordinal for one in table.columns] == list(range(7))
    assert by_name["id"].unsigned
    assert (by_name["w"].charset, by_name["w"].max_bytes) == ("gbk", 20)
    assert by_name["od`d,"].max_bytes == 4
    assert [one.name for one in table.copied_columns] == ["id", "e", "d", "h", "w", "od`d,"]


def test_force_index_refuses_hidden_indexes(pair: Pair, session: Session, schema: str) -> None:
    hidden = "INVISIBLE" if pair.family is Family.MYSQL else "IGNORED"
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (a INT NOT NULL, b INT NOT NULL, UNIQUE (a), UNIQUE b (b) {hidden})"
    )
    with pytest.raises(Exception, match="doesn't exist"):
        session.query(f"SELECT * FROM `{schema}`.t FORCE INDEX (b)")
    assert discover(session, selection(f"{schema}.t"))[0].key.index_name == "a"
    # The only key cannot be hidden: the table is clustered by it.
    with pytest.raises(Exception, match=r"(?i)primary key"):
        pair.source.execute(f"CREATE TABLE `{schema}`.u (a INT NOT NULL, UNIQUE a (a) {hidden})")


def test_system_schemas_views_and_our_own_helper_tables_are_left_out(pair: Pair, session: Session, schema: str) -> None:
    pair.source.execute(
        "CREATE DATABASE IF NOT EXISTS mysql_ferry",
        "CREATE TABLE IF NOT EXISTS mysql_ferry.lease (a INT PRIMARY KEY)",
        f"CREATE TABLE `{schema}`.t (a INT PRIMARY KEY)",
        f"CREATE VIEW `{schema}`.v AS SELECT * FROM `{schema}`.t",
    )
    try:
        found = new_tables(session, selection("*.*"), [])
    finally:
        pair.source.execute("DROP DATABASE mysql_ferry")
    assert [name for name in found if name.schema == schema] == [TableName(schema, "t")]
    assert not {name.schema for name in found} & LEFT_OUT
    assert {"mysql_ferry", "mysql", "sys"} < LEFT_OUT


def test_what_has_no_usable_key_is_moved_whole(pair: Pair, session: Session, schema: str) -> None:
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE good (a INT PRIMARY KEY)",
        "CREATE TABLE none (a INT)",
        "CREATE TABLE nullable (a INT, b INT, UNIQUE (a, b))",
        "INSERT INTO nullable VALUES (1, 1), (1, NULL)",
        "CREATE TABLE full (a INT, b INT, UNIQUE by_both (a, b))",
        "INSERT INTO full VALUES (1, 1), (1, 2)",
        "CREATE TABLE child (a INT UNIQUE, FOREIGN KEY (a) REFERENCES good (a) ON DELETE SET NULL)",
        "CREATE TABLE prefix (a VARCHAR(30) COLLATE utf8mb4_unicode_ci NOT NULL, UNIQUE (a(5))) CHARACTER SET utf8mb4",
    )
    found = {table.source.name: table for table in discover(session, selection(f"{schema}.*"))}
    assert {name for name, table in found.items() if table.whole} == {"none", "nullable", "prefix", "child"}
    assert {name for name, table in found.items() if table.secondary_unique} == {"nullable", "prefix", "child"}
    assert (found["full"].key.index_name, found["full"].key.nullable) == ("by_both", True)


def test_all_problems_of_a_selection_are_reported_at_once(pair: Pair, session: Session, schema: str) -> None:
    pair.source.execute(*(f"CREATE TABLE `{schema}`.{name} (a INT PRIMARY KEY)" for name in ("one", "two")))
    pair.source.execute(f"CREATE TABLE `{schema}`.none (a INT)")
    rules = [{"match": f"{schema}.two", "target": f"{schema}.one"}, {"match": f"{schema}.none", "target": "sys.x"}]
    wanted = selection(f"{schema}.*", exclude=["no.such"], rules=rules)
    found = explore(session, wanted)
    assert [(table.source.name, table.whole) for table in found.tables] == [
        ("none", True),
        ("one", False),
        ("two", False),
    ]
    with pytest.raises(ConfigError) as raised:
        discover(session, wanted)
    assert raised.value.reason == "PatternMatchesNothing"
    for reason in ("TargetNameInvalid", "TargetNameTaken"):
        assert f"-- and {reason}: " in raised.value.message


def test_two_tables_to_one_target_are_named(pair: Pair, session: Session, schema: str) -> None:
    pair.source.execute(*(f"CREATE TABLE `{schema}`.{name} (a INT PRIMARY KEY)" for name in ("one", "two")))
    rules = [{"match": f"{schema}.two", "target": f"{schema}.one"}]
    with pytest.raises(ConfigError, match=rf"TargetNameTaken: .*{schema}.one and {schema}.two to {schema}.one"):
        discover(session, selection(f"{schema}.*", rules=rules))


def test_a_generated_invisible_primary_key_is_found(mysql_pair: Pair, schema: str) -> None:
    mysql_pair.source.execute(
        "SET SESSION sql_generate_invisible_primary_key = ON", f"CREATE TABLE `{schema}`.t (v INT)"
    )
    with Session(mysql_pair.source.endpoint("source"), Purpose.CONTROL) as session:
        table = discover(session, selection(f"{schema}.t"))[0]
    assert [one.name for one in table.columns] == ["my_row_id", "v"]
    assert table.key.index_name == "PRIMARY"


def test_rediscovery_of_a_runs_tables(pair: Pair, session: Session, schema: str) -> None:
    names = ("kept", "newt", "x_newt")
    pair.source.execute(*(f"CREATE TABLE `{schema}`.{name} (a INT PRIMARY KEY)" for name in names))
    pair.source.execute(f"CREATE TABLE `{schema}`.keyless (a INT)")  # none of the run's: no reason to refuse it
    wanted = selection(f"{schema}.*", f"{schema}.dropped", exclude=["*.x_*"], renameSchemas={schema: "new"})
    found = rediscover(session, wanted, [f"{schema}.kept", f"{schema}.dropped"])
    assert not found.found.problems
    assert [(table.id, str(table.target)) for table in found.found.tables] == [(f"{schema}.kept", "new.kept")]
    assert found.gone == [f"{schema}.dropped"]
    assert [name.name for name in found.new_tables] == ["keyless", "newt"]


def test_servers_leave_out_rows_of_a_range_over_prefixes(pair: Pair, schema: str) -> None:
    """Why only some collations allow a key over prefixes: in others their order is not that of whole values."""
    left_out = {}
    for collation in ("utf8mb4_bin", "utf8mb4_general_ci", "utf8mb4_unicode_ci"):
        table = f"`{schema}`.{collation}"
        url = f"url VARCHAR(300) CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL"
        weightless = "CONCAT(REPEAT(_utf8mb4 0x01, 4), 'z')"
        pair.source.execute(
            f"CREATE TABLE {table} ({url}, PRIMARY KEY (url(4)))",
            f"INSERT INTO {table} VALUES ('a'), ('m'), ('yyyyy'), ({weightless})",
        )
        by_index, by_rows = (
            pair.source.value(f"SELECT COUNT(*) FROM {table} {how} WHERE url > 'm'")
            for how in ("FORCE INDEX (PRIMARY)", "USE INDEX ()")
        )
        left_out[collation] = by_rows - by_index
    assert left_out == {"utf8mb4_bin": 0, "utf8mb4_general_ci": 0, "utf8mb4_unicode_ci": 1}


def test_an_index_loses_the_largest_float(pair: Pair, session: Session, schema: str) -> None:
    """So a table with such a key is moved whole, or by another key."""
    found = {}
    for name, kind, largest in (("exact", "FLOAT(7,3)", "9999.999"), ("above", "FLOAT(10,3)", "9999999.999")):
        table = f"`{schema}`.{name}"
        pair.source.execute(
            f"CREATE TABLE {table} (k {kind} NOT NULL PRIMARY KEY, v INT)", f"INSERT INTO {table} VALUES ({largest}, 1)"
        )
        literal = pair.source.value(f"SELECT CONCAT(k * 1e0, 'e0') FROM {table}")
        counted = f"SELECT COUNT(*) FROM {table} WHERE k = {literal}"
        impossible = "Impossible WHERE" in str(pair.source.query(f"EXPLAIN {counted}"))
        found[name] = (pair.source.value(counted), impossible)
    by_index = 0 if pair.family is Family.MYSQL else 1
    assert found == {"exact": (1, False), "above": (by_index, True)}
    pair.source.execute(f"CREATE TABLE `{schema}`.other (k FLOAT(10,3) PRIMARY KEY, n INT NOT NULL UNIQUE)")
    keys = {table.source.name: table.key.index_name for table in discover(session, selection(f"{schema}.*"))}
    assert keys == {"exact": "PRIMARY", "above": "", "other": "n"}


def test_a_generated_invisible_primary_key_is_the_key(mysql_pair: Pair, schema: str) -> None:
    source = mysql_pair.source
    source.execute("SET SESSION sql_generate_invisible_primary_key = ON", f"CREATE TABLE `{schema}`.t (a INT)")
    with (
        set_global(source, "show_gipk_in_create_table_and_information_schema = OFF"),
        Session(source.endpoint("source"), Purpose.CONTROL) as session,
    ):
        (table,) = discover(session, selection(f"{schema}.*"))
    assert (table.key.index_name, [column.name for column in table.key.columns]) == ("PRIMARY", ["my_row_id"])
    assert "PRIMARY KEY (`my_row_id`)" in table.definition
