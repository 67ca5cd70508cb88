"""``ferry init``: from two servers to a manifest that ``ferry check`` accepts."""

import os
import pty
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import yaml

from tests.support.ferry_cli import ROOT, Ended, ferry
from tests.support.servers import Pair
from tests.support.waits import PATIENCE_SECONDS


def create(pair: Pair, schema: str, *statements: str) -> None:
    pair.source.execute(
        f"CREATE TABLE {schema}.orders (id INT PRIMARY KEY, v INT)",
        f"INSERT INTO {schema}.orders VALUES (1, 1), (2, 2)",
        *statements,
    )


def flags(pair: Pair, folder: Path) -> list[str]:
    given: list[str] = []
    for role, server in (("source", pair.source), ("target", pair.target)):
        password = folder / f"{role}.password"
        password.write_text(f"{server.password}\n")
        given += [f"--{role}", f"{server.user}@{server.host}:{server.port}", f"--{role}-password-file", str(password)]
    return given


def init(pair: Pair, folder: Path, *more: str) -> Ended:
    return ferry("init", *flags(pair, folder), *more, cwd=folder)


def test_what_it_writes_passes_the_check(pair: Pair, schema: str, tmp_path: Path) -> None:
    create(pair, schema)
    done = init(pair, tmp_path, "--include", f"{schema}.*")
    assert done.code == 0, done.stderr
    assert f"  {schema}: 1 table, about 2 rows" in done.stdout
    assert "selected: 1 table" in done.stdout
    assert done.stdout.endswith("wrote ferry.yaml. Next: ferry check -f ferry.yaml\n")
    file = tmp_path / "ferry.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    checked = ferry("check", "-f", "ferry.yaml", cwd=tmp_path)
    assert checked.code == 0, checked.stdout
    again = init(pair, tmp_path, "--include", f"{schema}.*")
    again.refused(64, "Usage", "ferry.yaml exists, and init overwrites no file")
    assert "init" in file.read_text()


def test_what_will_be_refused_is_named_and_left_as_a_comment(pair: Pair, schema: str, tmp_path: Path) -> None:
    create(pair, schema, f"CREATE TABLE {schema}.`odd``s` (id INT PRIMARY KEY, m INT) ENGINE=MEMORY")
    done = init(pair, tmp_path, "--include", f"{schema}.*", "--name", "orders")
    assert done.code == 0, done.stderr
    assert "will be refused, until it is fixed or left out:" in done.stdout, done.stdout
    text = (tmp_path / "ferry.yaml").read_text()
    assert re.search(r"^ +# - .*odd.*# refused: \w+$", text, re.MULTILINE), text
    # Without the comment sign the line leaves the table out, and the check passes.
    corrected = re.sub(r"exclude: \[\]\n( +)# - ", r"exclude:\n\1- ", text)
    (tmp_path / "ferry.yaml").write_text(corrected)
    (document, *_) = yaml.safe_load_all(corrected)
    assert len(document["spec"]["tables"]["exclude"]) == 1
    checked = ferry("check", "-f", "ferry.yaml", cwd=tmp_path)
    assert checked.code == 0, checked.stdout


def test_it_prints_the_grants_that_are_missing(pair: Pair, schema: str, tmp_path: Path) -> None:
    create(pair, schema)
    given = flags(pair, tmp_path)
    user = f"weak_{schema}"[:32]
    pair.source.execute(f"CREATE USER {user}@'%' IDENTIFIED BY 'x y: #\"'", f"GRANT SELECT ON {schema}.* TO {user}@'%'")
    try:
        (tmp_path / "source.password").write_text('x y: #"')
        given[given.index("--source") + 1] = f"{user}@{pair.source.host}:{pair.source.port}"
        done = ferry("init", *given, "--include", f"{schema}.*", cwd=tmp_path)
        assert done.code == 0, done.stderr
        _, _, grants = done.stdout.partition("\nrun on the source:\n")
        lines = [line for line in grants.splitlines() if line.startswith("  GRANT ")]
        assert lines, done.stdout
        pair.source.execute(*(line.strip().removesuffix(";") for line in lines))
        checked = ferry("check", "-f", "ferry.yaml", cwd=tmp_path)
        assert checked.code == 0, checked.stdout
    finally:
        pair.source.execute(f"DROP USER {user}@'%'")


def test_a_pipe_is_asked_nothing(pair: Pair, schema: str, tmp_path: Path) -> None:
    create(pair, schema)
    ferry("init", cwd=tmp_path).refused(64, "Usage", "give --source USER@HOST[:PORT]")
    ferry("init", "--source", "a@b:x", cwd=tmp_path).refused(64, "Usage", "is not USER@HOST[:PORT]")
    ferry("init", "--source", "a@b", cwd=tmp_path).refused(64, "Usage", "FERRY_SOURCE_PASSWORD")
    init(pair, tmp_path).refused(64, "Usage", "give --include 'SCHEMA.*'", schema)
    assert not (tmp_path / "ferry.yaml").exists()


def test_on_a_terminal_it_asks(pair: Pair, schema: str, tmp_path: Path) -> None:
    create(pair, schema)
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "ferry_core", "init", "--name", "orders"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as asking:
        os.close(slave)
        answers = []
        for server in (pair.source, pair.target):
            answers += [("): ", f"{server.user}@{server.host}:{server.port}"), ("password of", server.password)]
        answers += [("schemas to move", schema)]
        said = ""
        for question, answer in answers:
            said += _read_until(master, question)
            os.write(master, f"{answer}\n".encode())
        said += _read_until(master, "Next: ferry check")
        assert asking.wait(PATIENCE_SECONDS) == 0
    os.close(master)
    assert pair.source.password not in said
    assert ferry("check", "-f", "ferry.yaml", cwd=tmp_path).code == 0


def _read_until(terminal: int, text: str) -> str:
    said, end = "", time.monotonic() + PATIENCE_SECONDS
    while text not in said:
        assert time.monotonic() < end, said
        said += os.read(terminal, 4096).decode(errors="replace")
    return said
