"""What users get wrong, through the real command: one clear line, the right exit code, nothing half-done."""

import re
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.support.certificates import Authority
from tests.support.commands import Bench, ferry
from tests.support.ferry_process import free_port
from tests.support.manifests import Data, encoded, secret_data
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server

TABLE = "CREATE TABLE `{}`.{} (id INT PRIMARY KEY, v VARCHAR(40), u INT) ENGINE=InnoDB"


def fill(server: Server, schema: str, *tables: str) -> None:
    for table in tables:
        server.execute(
            TABLE.format(schema, table), f"INSERT INTO `{schema}`.{table} VALUES (1, 'one', 1), (2, 'two', 2)"
        )


@pytest.fixture
def bench(tmp_path: Path, pair: Pair, schema: str) -> Bench:
    fill(pair.source, schema, "t")
    return Bench(tmp_path / "ferry", pair, schema)


@pytest.fixture
def one(tmp_path: Path, mysql_pair: Pair, schema: str) -> Bench:
    """For mistakes that no server hears of, or both families answer alike."""
    fill(mysql_pair.source, schema, "t")
    return Bench(tmp_path / "ferry", mysql_pair, schema)


# -- the manifest ---------------------------------------------------------------------------------------------------

Spoil = Callable[[Data], object]

MANIFESTS: dict[str, tuple[Spoil, str, tuple[str, ...]]] = {
    "misspelt field": (lambda spec: spec.update(tabels={}), "UnknownField", ("spec.tabels", "did you mean tables?")),
    "misspelt deeper": (
        lambda spec: spec.update(cutover={"maxLagg": "1s"}),
        "UnknownField",
        ("spec.cutover.maxLagg", "did you mean maxLag?", "line "),
    ),
    "field of another place": (lambda spec: spec.update(maxLag="1s"), "UnknownField", ("spec.cutover.maxLag",)),
    "wrong type": (
        lambda spec: spec.update(copy={"workers": "four"}),
        "InvalidField",
        ("spec.copy.workers must be a whole number", "'four'"),
    ),
    "wrong word": (
        lambda spec: spec.update(cutover={"mode": "Automatik"}),
        "InvalidField",
        ("must be one of", "did you mean Automatic?"),
    ),
    "wrong duration": (
        lambda spec: spec.update(cutover={"deadline": "soon"}),
        "InvalidField",
        ("spec.cutover.deadline", "'soon'", "500ms"),
    ),
    "host with a port": (
        lambda spec: spec["source"].update(host="db.example/shop"),
        "InvalidField",
        ("spec.source.host", "without port"),
    ),
    "not built yet": (
        lambda spec: spec.update(throttle={"maxReplicaLag": "5s"}, schema={"onChange": "Recopy"}),
        "NotBuiltYet",
        ("spec.throttle.maxReplicaLag", "spec.schema.onChange: Recopy", "use Fail"),
    ),
    "required field": (lambda spec: spec.pop("tables"), "MissingField", ("spec.tables is required",)),
    "unverified": (lambda spec: spec.update(verify={"mode": "None"}), "RuleViolated", ("Unverified",)),
}


@pytest.mark.parametrize("mistake", MANIFESTS)
def test_manifest(tmp_path: Path, mysql_pair: Pair, mistake: str) -> None:
    spoil, reason, words = MANIFESTS[mistake]
    bench = Bench(tmp_path / "ferry", mysql_pair, "never_made")
    spoil(bench.spec)
    where = () if reason == "NotBuiltYet" else ("ferry.yaml",)
    bench.run().refused(64, reason, *where, *words)
    assert sorted(entry.name for entry in bench.folder.iterdir()) == ["ferry.yaml"]


MALFORMED = {
    "indentation": "apiVersion: mysqlferry.io/v1alpha1\nkind: Ferry\n  spec: {}\n",
    "tab": "kind: Ferry\nspec:\n\tsource: {}\n",
    "bracket": "kind: Ferry\nspec: {source: {host: a\n",
    "twice": "kind: Ferry\nkind: Ferry\n",
    "no mapping": "- kind: Ferry\n",
    "not text": "\x00\x01",
}


@pytest.mark.parametrize("how", MALFORMED)
def test_malformed_yaml(tmp_path: Path, how: str) -> None:
    verb = "run" if how == "tab" else "check"
    file = tmp_path / "bad.yaml"
    file.write_text(MALFORMED[how])
    line = ferry(verb, "-f", str(file), cwd=tmp_path).refused(64, "MalformedYaml", "bad.yaml")
    assert "line " in line or "offset" in line
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("given", ["missing.yaml", "."])
def test_no_file(tmp_path: Path, given: str) -> None:
    ferry("run", "-f", given, cwd=tmp_path).refused(64, "ManifestUnreadable", given, "check the path")


def test_two_ferries(tmp_path: Path, mysql_pair: Pair) -> None:
    bench = Bench(tmp_path / "ferry", mysql_pair, "never_made")
    first = bench.manifest()
    second = first.rename(first.with_name("other.yaml"))
    for verb in ("run", "check"):
        done = ferry(verb, "-f", str(bench.manifest()), "-f", str(second), cwd=bench.folder)
        done.refused(64, "SeveralFerries", "ferry.yaml", "other.yaml")


SECRETS: dict[str, tuple[Callable[[Bench], object], str, tuple[str, ...]]] = {
    "missing": (
        lambda bench: bench.documents[1]["metadata"].update(name="orders-sauce"),
        "SecretNotFound",
        ("Secret orders-source", "spec.source.credentialsSecretRef", "did you mean orders-sauce?"),
    ),
    "key missing": (
        lambda bench: bench.documents[2]["stringData"].pop("password"),
        "SecretKeyNotFound",
        ("Secret orders-target", "no key password", "it has username"),
    ),
    "no base64": (
        lambda bench: bench.documents[1].update(data={"username": "r%%t", "password": encoded("x")}, stringData={}),
        "SecretInvalid",
        ("data.username", "base64"),
    ),
    "elsewhere": (
        lambda bench: bench.documents[1]["metadata"].update(namespace="lager"),
        "SecretNotFound",
        ("there is one in namespace lager",),
    ),
}


@pytest.mark.parametrize("mistake", SECRETS)
def test_secret(tmp_path: Path, mysql_pair: Pair, mistake: str) -> None:
    spoil, reason, words = SECRETS[mistake]
    bench = Bench(tmp_path / "ferry", mysql_pair, "never_made")
    spoil(bench)
    for done in (bench.run(), bench.check()):
        line = done.refused(64, reason, *words)
        assert mysql_pair.source.password not in line


def test_secrets_folder(tmp_path: Path, one: Bench) -> None:
    """As a pod sees them; what is missing is said with the path."""
    folder = tmp_path / "secrets"
    (folder / "orders-source").mkdir(parents=True)
    (folder / "orders-source" / "username").write_text("root\n")
    manifest = one.folder / "alone.yaml"
    manifest.write_text(one.manifest().read_text().partition("---")[0])
    arguments = ("-f", str(manifest), "--secrets-dir", str(folder))
    ferry("check", *arguments, cwd=tmp_path).refused(64, "SecretKeyNotFound", str(folder / "orders-source"), "password")
    (folder / "orders-source" / "password").write_text(one.pair.source.password + "\n")
    ferry("check", *arguments, cwd=tmp_path).refused(64, "SecretNotFound", str(folder / "orders-target"))
    ferry("check", "-f", str(manifest), "--secrets-dir", str(tmp_path / "no"), cwd=tmp_path).refused(
        64, "SecretNotFound", "--secrets-dir"
    )


# -- reaching the servers -------------------------------------------------------------------------------------------


def failed_checks(output: str) -> list[str]:
    """Lines of the table whose status is failed."""
    return [line for line in output.splitlines() if re.search(r" (source|target|both) +failed ", line)]


@pytest.mark.parametrize("role", ["source", "target"])
def test_wrong_password(bench: Bench, role: str) -> None:
    bench.credentials(role, "root", "not-the-password")
    done = bench.run()
    line = done.refused(64, "AccessDenied", role, "127.0.0.1", "root", "check the user name, password")
    assert "not-the-password" not in done.stderr + done.stdout, line
    bench.assert_nothing_begun()
    checked = bench.check()
    assert checked.code == 64
    assert len(failed_checks(checked.stdout)) == 1
    assert "AccessDenied" in checked.stdout


@pytest.mark.parametrize("role", ["source", "target"])
def test_nobody_listens(one: Bench, role: str) -> None:
    port = free_port()
    one.spec[role]["port"] = port
    done = one.run()
    done.refused(75, "ServerUnreachable", f"{role} 127.0.0.1:{port}", f"spec.{role}.host", "refused")
    one.assert_nothing_begun()
    checked = one.check()
    assert (checked.code, len(failed_checks(checked.stdout))) == (64, 1)
    assert "ServerUnreachable" in checked.stdout


def test_host_without_address(one: Bench) -> None:
    one.spec["source"]["host"] = "no-such-host.invalid"
    one.run().refused(75, "ServerUnreachable", "source no-such-host.invalid:", "spec.source.host")
    one.assert_nothing_begun()


def test_not_a_mysql_server(one: Bench) -> None:
    """An HTTP port, say: it talks, but not MySQL's language; or it says nothing at all."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        one.spec["target"]["port"] = listener.getsockname()[1]
        one.run().refused(75, "ServerUnreachable", "target 127.0.0.1:", "spec.target.host")
    one.assert_nothing_begun()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def tls_server(
    make_module_server: ServerFactory, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """Its certificate is for another host."""
    folder = tmp_path_factory.mktemp("tls")
    signed = authority.sign("elsewhere.example")
    for name, content in (("cert", signed.certificate), ("key", signed.key)):
        (folder / name).write_bytes(content)
    return make_module_server("mariadb", ssl_cert=str(folder / "cert"), ssl_key=str(folder / "key"))


@pytest.mark.parametrize("mode", ["Required", "VerifyCA", "VerifyIdentity"])
def test_tls_is_not_offered(tmp_path: Path, mariadb_pair: Pair, schema: str, mode: str) -> None:
    bench = Bench(tmp_path / "ferry", mariadb_pair, schema)
    bench.spec["target"]["tls"] = {"mode": mode}
    bench.run().refused(64, "TlsNotOffered", "target 127.0.0.1", "does not offer TLS", "tls.mode")
    bench.assert_nothing_begun()
    checked = bench.check()
    assert (checked.code, "TlsNotOffered" in checked.stdout) == (64, True)


@pytest.mark.parametrize(("mode", "signer"), [("VerifyCA", "stranger"), ("VerifyIdentity", "authority")])
def test_certificate_does_not_verify(
    tmp_path: Path, mariadb_pair: Pair, schema: str, tls_server: Server, authority: Authority, mode: str, signer: str
) -> None:
    bench = Bench(tmp_path / "ferry", Pair(tls_server, mariadb_pair.target), schema)
    trusted = authority if signer == "authority" else Authority("a stranger")
    material = secret_data("orders-tls") | {"stringData": {"ca.crt": trusted.certificate.decode()}}
    material["metadata"]["namespace"] = "tests"
    bench.documents = (*bench.documents, material)
    bench.spec["source"]["tls"] = {"mode": mode, "secretRef": {"name": "orders-tls"}}
    bench.run().refused(64, "TlsCertificateRejected", "source 127.0.0.1", "does not verify", "ca.crt")
    bench.assert_nothing_begun()


# -- selection ------------------------------------------------------------------------------------------------------


@pytest.fixture
def proxied(pair: Pair) -> Iterator[Proxy]:
    with Proxy(pair.source.host, pair.source.port) as proxy:
        yield proxy


@pytest.mark.parametrize("spelling", ["the same", "localhost", "another address"])
def test_source_is_target(bench: Bench, proxied: Proxy, spelling: str) -> None:
    source = bench.pair.source
    host, port = {
        "the same": (source.host, source.port),
        "localhost": ("localhost", source.port),
        "another address": ("127.0.0.1", proxied.port),
    }[spelling]
    bench.spec["target"] |= {"host": host, "port": port}
    bench.credentials("target", source.user, source.password)
    # Where even the spelling is the same, the manifest alone is refused; else the servers have to be asked.
    reason = "RuleViolated" if spelling == "the same" else "SourceIsTarget"
    bench.run().refused(64, reason, "rename")
    assert not bench.state.exists()
    assert source.query(f"SELECT COUNT(*) FROM `{bench.schema}`.t") == [(2,)]
    bench.spec["tables"]["renameSchemas"] = {bench.schema: f"{bench.schema}_copy"}
    bench.run().refused(64, "SourceIsTarget", "sourceLock")
    assert source.query("SHOW DATABASES LIKE 't\\_%\\_copy'") == []


SELECTIONS: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "matches nothing": ({"include": ["{}.*", "{}.nowhere*"]}, "PatternMatchesNothing", ("include '{}.nowhere*'",)),
    "rule matches nothing": (
        {"include": ["{}.*"], "rules": [{"match": "{}.orders", "where": "id = 1"}]},
        "PatternMatchesNothing",
        ("rule '{}.orders'",),
    ),
    "nothing left": ({"include": ["{}.*"], "exclude": ["{}.*"]}, "NothingSelected", ("exclude",)),
    "two to one": (
        {"include": ["{}.*"], "rules": [{"match": "{}.t", "target": "{}.w"}]},
        "TargetNameTaken",
        ("{}.t and {}.w to {}.w",),
    ),
}


@pytest.mark.parametrize("mistake", SELECTIONS)
def test_selection(one: Bench, mistake: str) -> None:
    fill(one.pair.source, one.schema, "w")
    tables, reason, words = SELECTIONS[mistake]
    filled = [word.replace("{}", one.schema) for word in words]
    one.spec["tables"] = named(tables, one.schema)
    one.run().refused(64, reason, *filled)
    one.assert_nothing_begun()
    checked = one.check()
    assert (checked.code, reason in checked.stdout) == (64, True)


def named(value: Any, schema: str) -> Any:
    """``{}`` in all texts becomes the schema."""
    if isinstance(value, dict):
        return {key: named(inner, schema) for key, inner in value.items()}
    if isinstance(value, list):
        return [named(inner, schema) for inner in value]
    return value.replace("{}", schema)


FILTERS = {
    "no such column": ("price > 3", "RowFilterInvalid", "price"),
    "no condition": ("id = 1 ORDER BY id", "RowFilterInvalid", "ORDER BY"),
    "two statements": ("1); DROP TABLE t; --", "RowFilterInvalid", "row filter"),
    "open quote": ("v = 'one", "RowFilterInvalid", "quote"),
    "time of day": ("id < UNIX_TIMESTAMP(NOW())", "RowFilterNotPure", "depend on the row alone"),
    "random": ("RAND() < 0.5", "RowFilterNotPure", "depend on the row alone"),
    "variable": ("id < @@max_connections", "RowFilterNotPure", "depend on the row alone"),
    "subquery": ("id IN (SELECT 1)", "RowFilterNotPure", "depend on the row alone"),
}


@pytest.mark.parametrize("mistake", FILTERS)
def test_row_filter(bench: Bench, mistake: str) -> None:
    where, reason, word = FILTERS[mistake]
    bench.spec["tables"]["rules"] = [{"match": f"{bench.schema}.t", "where": where}]
    bench.run().refused(64, reason, f"{bench.schema}.t", word)
    bench.assert_nothing_begun()
    assert bench.pair.source.value(f"SELECT COUNT(*) FROM `{bench.schema}`.t") == 2


# -- the target's tables ----------------------------------------------------------------------------------------------


def test_target_table_with_other_columns(bench: Bench) -> None:
    target = bench.pair.target
    target.execute(
        f"CREATE DATABASE `{bench.schema}`",
        f"CREATE TABLE `{bench.schema}`.t (id INT PRIMARY KEY, v VARCHAR(10), extra INT)",
    )
    before = target.query(f"SHOW CREATE TABLE `{bench.schema}`.t")
    words = ("the column u is missing", "the column extra is not on the source", "varchar(10) and not varchar(40)")
    target.execute(f"INSERT INTO `{bench.schema}`.t VALUES (7, 'mine', 7)")
    both = "-- and TargetNotEmpty: target"  # all that must be mended, at once
    bench.run().refused(64, "TargetTableDiffers", f"{bench.schema}.t", *words, both)
    assert target.query(f"SHOW CREATE TABLE `{bench.schema}`.t") == before
    assert bench.lease() == []
    assert not bench.state.exists()


def test_target_table_that_holds_rows(bench: Bench) -> None:
    target = bench.pair.target
    target.execute(f"CREATE DATABASE `{bench.schema}` CHARACTER SET utf8mb4", TABLE.format(bench.schema, "t"))
    target.execute(f"INSERT INTO `{bench.schema}`.t VALUES (7, 'mine', 7)")
    bench.run().refused(64, "TargetNotEmpty", f"{bench.schema}.t", "empty or drop")
    assert target.query(f"SELECT id, v FROM `{bench.schema}`.t") == [(7, "mine")]
    assert bench.lease() == []
    assert not bench.state.exists()


def test_read_only_target(bench: Bench) -> None:
    target = bench.pair.target
    target.execute("SET GLOBAL read_only = 1")
    try:
        bench.run().refused(64, "TargetReadOnly", "read_only=ON", "SET GLOBAL read_only = OFF")
    finally:
        target.execute("SET GLOBAL read_only = 0")
    bench.assert_nothing_begun()


# -- the source's binlog ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["mysql", "mariadb"])
def silent_source(make_module_server: ServerFactory, request: pytest.FixtureRequest) -> Server:
    """Without a binlog, hence without what needs one."""
    needs_one: dict[str, None] = {"gtid_mode": None} if request.param == "mysql" else {"gtid_strict_mode": None}
    return make_module_server(request.param, log_bin=False if request.param == "mysql" else None, **needs_one)


def test_binlog_off(tmp_path: Path, silent_source: Server, schema: str, server_pool: Any) -> None:
    pair = Pair(silent_source, server_pool.pair(silent_source.family).target)
    silent_source.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}`")
    fill(silent_source, schema, "t")
    bench = Bench(tmp_path / "ferry", pair, schema)
    bench.run().refused(64, "BinlogDisabled", "source 127.0.0.1", "log_bin")
    bench.assert_nothing_begun()


def test_statement_format(bench: Bench) -> None:
    source = bench.pair.source
    source.execute("SET GLOBAL binlog_format = 'STATEMENT'")
    try:
        bench.run().refused(64, "BinlogFormatNotRow", "binlog_format=STATEMENT", "SET GLOBAL binlog_format = ROW")
    finally:
        source.execute("SET GLOBAL binlog_format = 'ROW'")
    bench.assert_nothing_begun()


# -- this machine -----------------------------------------------------------------------------------------------------


def test_port_in_use(one: Bench) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        one.run("--listen", f"127.0.0.1:{port}").refused(64, "PortInUse", f"port {port}", "--listen")
    one.assert_nothing_begun()


def test_off_loopback_without_a_token(one: Bench) -> None:
    one.run("--listen", "0.0.0.0:0").refused(64, "TokenRequired", "0.0.0.0", "--token-file")
    one.assert_nothing_begun()


@pytest.mark.parametrize("holds", ["", "two words"])
def test_token_file(one: Bench, holds: str) -> None:
    token = one.folder / "token"
    token.write_text(holds)
    one.run("--token-file", str(token)).refused(64, "TokenUnreadable", str(token))
    one.run("--token-file", str(token) + ".no").refused(64, "TokenUnreadable", "No such file")


def test_state_of_another_ferry(one: Bench) -> None:
    one.spec["cutover"] = {"mode": "Automatic", "watchFor": "1s"}
    assert one.run().code == 0
    before = one.state.read_bytes()
    other = Bench(one.folder, one.pair, one.schema)
    other.documents[0]["metadata"]["name"] += "-two"
    name = one.documents[0]["metadata"]["name"]
    other.run().refused(64, "StateOfOtherFerry", str(one.state), f"tests/{name}", "--state")
    assert one.state.read_bytes() == before
    assert other.lease() == []


@pytest.mark.parametrize("how", ["text", "cut short", "scrambled", "newer"])
def test_corrupt_state(one: Bench, how: str) -> None:
    if how == "text":
        one.state.write_bytes(b"this is no database\n" * 400)
    else:
        with closing(sqlite3.connect(one.state)) as database, database:
            database.execute("CREATE TABLE ferry_state (id INTEGER PRIMARY KEY, epoch INT, format INT, body TEXT)")
            body, form = ("{}", 99) if how == "newer" else ('{"format": 1, "ferry_uid": ', 1)
            database.execute("INSERT INTO ferry_state VALUES (1, 1, ?, ?)", (form, body))
        if how == "cut short":
            one.state.write_bytes(one.state.read_bytes()[:5000])
    before = one.state.read_bytes()
    one.run().refused(64, "StateTooNew" if how == "newer" else "StateCorrupt", str(one.state))
    assert one.state.read_bytes() == before
    assert (one.lease(), one.target_tables()) == ([], [])


def test_state_in_no_folder(one: Bench) -> None:
    one.state = one.folder / "nowhere" / "state.db"
    one.run().refused(64, "StateUnusable", str(one.state), "check path")
    one.assert_nothing_begun()


@pytest.mark.parametrize(
    "arguments", [("run",), ("run", "-f"), ("rnu",), ("run", "-f", "x", "--listen", "8080"), ("throttle", "fast")]
)
def test_command_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ferry(*arguments, cwd=tmp_path).refused(64, "Usage")


def test_account_that_logs_in_in_a_way_we_lack(tmp_path: Path, mariadb_pair: Pair, schema: str) -> None:
    source = mariadb_pair.source
    old = "IDENTIFIED VIA mysql_old_password USING '0123456789abcdef'"
    source.execute("SET GLOBAL secure_auth = 0", f"CREATE OR REPLACE USER old@'%' {old}")
    bench = Bench(tmp_path / "ferry", mariadb_pair, schema)
    bench.credentials("source", "old", "x")
    try:
        bench.run().refused(64, "AccountUnsupported", "source 127.0.0.1", "caching_sha2_password")
    finally:
        source.execute("DROP USER old@'%'", "SET GLOBAL secure_auth = 1")
    bench.assert_nothing_begun()
