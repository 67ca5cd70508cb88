"""Values of rows and secrets are planted, and what goes wrong around them is told: nothing of them may be in it."""

import json
import re
from pathlib import Path

from kubectl_ferry.redaction import Redaction
from tests.support.ferry_cli import FerryCli, FerryProcess
from tests.support.hooks import HookServer
from tests.support.servers import Pair
from tests.support.waits import wait_until

ROW, KEY, PASSWORD, TOKEN, PATH = (f"{each}q7x" for each in ("ROW", "KEY", "PASSWORD", "TOKEN", "PATH"))
USER = "leaky"
WITH_KEYS = "after the cutover the source took 1 row change"
"""Without their keys nobody finds these rows: docs/security.md."""


class Leaks:
    """All that a run has told anybody."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def tell(self, ferry: FerryProcess) -> None:
        """Its status, tables and metrics, and what other logins of the machine see of its process."""
        assert ferry.process is not None
        system = Path(f"/proc/{ferry.process.pid}")
        assert re.search(r"Max core file size +0 +0 ", (system / "limits").read_text())
        self.texts += [(system / name).read_bytes().decode() for name in ("cmdline", "environ")]
        self.texts += [json.dumps(ferry.get(f"/api/v1/{path}")) for path in ("status", "tables", "history", "run")]

    def search(self, *markers: str) -> list[str]:
        """The lines with one of these."""
        return [line for text in self.texts for line in text.splitlines() if any(each in line for each in markers)]


def start(cli: FerryCli, hooks: HookServer, leaks: Leaks) -> FerryProcess:
    for role in ("source", "target"):
        cli.credentials(role, USER, PASSWORD)
    cli.spec["notifications"] = [{"url": hooks.url(f"/{PATH}"), "tokenSecretRef": {"name": "bell"}}]
    meta = {"name": "bell", "namespace": "tests"}
    token = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"token": TOKEN}}
    cli.documents = (*cli.documents, token)
    ferry = cli.process().start_streaming()
    leaks.tell(ferry)
    return ferry


def test_no_value_of_a_row_and_no_secret_is_told(pair: Pair, schema: str, tmp_path: Path) -> None:
    source, target, leaks = pair.source, pair.target, Leaks()
    for server in (source, target):
        server.execute(
            f"DROP USER IF EXISTS {USER}@'%'",
            f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'",
            f"GRANT ALL ON *.* TO {USER}@'%' WITH GRANT OPTION",
        )
    source.execute(
        f"USE `{schema}`",
        *(
            f"CREATE TABLE {name} (k VARCHAR(40) PRIMARY KEY, v VARCHAR(40), u VARCHAR(40) UNIQUE)"
            for name in ("rows_of_ours", "truncated")
        ),
        *(f"INSERT INTO rows_of_ours VALUES ('{KEY}{n}', '{ROW}{n}', '{ROW}{n}')" for n in range(20)),
        "INSERT INTO truncated SELECT * FROM rows_of_ours",
    )
    late = {"mode": "Manual", "sourceLock": "None", "watchFor": "30s"}
    with HookServer() as hooks:
        cli = FerryCli(tmp_path / "first", pair, schema, cutover=late)
        cli.spec["tables"] = {"include": [f"{schema}.rows_of_ours"]}
        with start(cli, hooks, leaks) as ferry:
            target.execute(
                f"USE `{schema}`",
                f"UPDATE rows_of_ours SET v = '{ROW} changed' WHERE k = '{KEY}1'",
                f"DELETE FROM rows_of_ours WHERE k = '{KEY}2'",
                f"INSERT INTO rows_of_ours VALUES ('{KEY} foreign', '{ROW}', '{ROW} twice')",
            )
            source.execute(f"INSERT INTO `{schema}`.rows_of_ours VALUES ('{KEY} new', '{ROW}', '{ROW} twice')")
            ferry.post("verify")
            query = f"SELECT * FROM `{schema}`.rows_of_ours ORDER BY k"
            wait_until(lambda: target.query(query) == source.query(query), "it is repaired")
            leaks.tell(ferry)
            ferry.post("cutover")
            wait_until(lambda: "watching the source for late writes" in ferry.tail(), "the watch")
            source.execute(f"UPDATE `{schema}`.rows_of_ours SET v = '{ROW} late' WHERE k = '{KEY}3'")
            assert ferry.wait_end() == 65
            assert "SourceWrittenAfterCutover" in ferry.tail()
        second = FerryCli(tmp_path / "second", pair, f"{schema}_2", tables={"include": [f"{schema}.truncated"]})
        with start(second, hooks, leaks) as other:
            source.execute(f"TRUNCATE TABLE `{schema}`.truncated")
            other.fail(65, "SchemaChanged")
        second.credentials("source", USER, f"{PASSWORD} wrong")
        refused = second.check()
        assert refused.code == 64
        sent = [one.raw.decode() for one in hooks.at(f"/{PATH}")]
    assert any("StageChanged" in each for each in sent)
    logs = [each.log.read_text() for each in (ferry, other)]
    leaks.texts += [*logs, *sent, refused.stdout, refused.stderr]
    assert leaks.search(ROW, PASSWORD, TOKEN, PATH) == []
    assert [line for line in leaks.search(KEY) if WITH_KEYS not in line] == []
    assert KEY in logs[0]
    bundle = Redaction(cli.documents[0])
    assert KEY not in "".join(bundle.log(log) for log in logs)
    for server in (source, target):
        server.execute(f"DROP USER {USER}@'%'")
