"""``kubectl ferry`` on a whole cluster: what goes through a port-forward to a real copier."""

import re
import subprocess
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from tests.e2e.kubernetes.conftest import MakeFerry
from tests.support.cluster_ferry import SCHEMA
from tests.support.plugin import Plugin
from tests.support.waits import wait_until


def test_tables_page_log_and_report_of_a_real_copier(make_ferry: MakeFerry, tmp_path: Path) -> None:
    ferry = make_ferry()
    secret = ferry.pair.source.password
    ferry.pair.source.execute(
        f"CREATE TABLE {SCHEMA}.people (name VARCHAR(50) PRIMARY KEY)",
        f"INSERT INTO {SCHEMA}.people VALUES ('Quim O''B')",
    )
    ferry.create(verify={"mode": "Final", "onMismatch": "Fail"})
    ferry.wait_for_stage("ReadyForCutover")
    plugin = Plugin(ferry.cluster, ferry.namespace)

    said = plugin("tables", "orders")
    assert re.search(rf"^{SCHEMA}\.aim +same +Copied +100 +2 ", said, re.MULTILINE), said
    assert f'"name": "{SCHEMA}.aim"' in plugin("tables", "orders", "-o", "json")
    assert '"message"' in plugin("logs", "orders", "--tail", "5")
    _page_is_served(plugin)

    assert "orders: NoDifference: " in plugin("verify", "orders")

    # A row that differs: its key is neither in the status nor in the log.
    ferry.pair.target.execute(f"INSERT INTO {SCHEMA}.people VALUES ('Zaxo O''C')")
    assert "RowsDiffer" in plugin("verify", "orders", code=65)
    wait_until(lambda: "RowsDiffer" in str(ferry.current_status), "the status says so", 300)
    assert "Zaxo" not in str(ferry.current_status) + plugin("logs", "orders")
    said = plugin("report", "orders", folder=tmp_path)
    assert "status.txt" in said
    (bundle,) = tmp_path.glob("orders-*.tar.gz")
    with tarfile.open(bundle) as opened:
        files = {each.name.partition("/")[2]: opened.extractfile(each) for each in opened.getmembers()}
        texts = {name: file.read().decode() for name, file in files.items() if file is not None}
    assert {"ferry.json", "events.json", "pods.json", "versions.txt"} <= {*texts}
    assert "RowsDiffer" in texts["status.txt"]
    for name, text in texts.items():
        for value in ("Zaxo", "Quim", secret):
            assert value not in text, f"{value} is in {name}"


def test_a_row_that_somebody_wrote_on_the_target_is_found_on_request_and_copied_again(make_ferry: MakeFerry) -> None:
    ferry = make_ferry()
    ferry.create()
    ferry.wait_for_stage("ReadyForCutover")
    ferry.pair.target.execute(f"UPDATE {SCHEMA}.aim SET v = 17 WHERE id = 1")
    assert "orders: NoDifference: " in Plugin(ferry.cluster, ferry.namespace)("verify", "orders")
    assert ferry.pair.target.value(f"SELECT v FROM {SCHEMA}.aim WHERE id = 1") == 0
    assert ferry.current_status["verification"]["rowsRepaired"] == 1


def _page_is_served(plugin: Plugin) -> None:
    with subprocess.Popen(plugin.line("ui", "orders"), env=plugin.environment, stdout=subprocess.PIPE, text=True) as ui:
        try:
            assert ui.stdout is not None
            url = ui.stdout.readline().split()[1]
            with urllib.request.urlopen(url, timeout=60) as page:
                assert "<html" in page.read().decode()
            with urllib.request.urlopen(f"{url}api/v1/status", timeout=60) as report:
                assert b'"ReadyForCutover"' in report.read()
            assert _refused(urllib.request.Request(url, headers={"Host": "evil.example"})) == 403
            # The copier's answer names the kubectl line to use instead; the operator's directive is not passed on.
            assert _refused(urllib.request.Request(f"{url}api/v1/pause", b"", method="POST")) == 409
            assert _refused(urllib.request.Request(f"{url}api/v1/directive", b"{}", method="PUT")) == 405
        finally:
            ui.terminate()


def _refused(request: urllib.request.Request) -> int:
    try:
        urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        return error.code
    return 200
