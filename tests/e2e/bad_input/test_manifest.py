"""Mistakes in a manifest or a Secret: one clear line, the right exit code, nothing half-done."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ferry_cli import FerryCli, ferry
from tests.support.manifests import Data, encoded
from tests.support.servers import Pair

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
    "required field": (lambda spec: spec.pop("tables"), "MissingField", ("spec.tables is required",)),
    "unverified": (lambda spec: spec.update(verify={"mode": "None"}), "RuleViolated", ("Unverified",)),
}


@pytest.mark.parametrize("mistake", MANIFESTS)
def test_manifest(tmp_path: Path, mysql_pair: Pair, mistake: str) -> None:
    spoil, reason, words = MANIFESTS[mistake]
    cli = FerryCli(tmp_path / "ferry", mysql_pair, "never_made")
    spoil(cli.spec)
    cli.run().refused(64, reason, "ferry.yaml", *words)
    assert sorted(entry.name for entry in cli.folder.iterdir()) == ["ferry.yaml"]


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
    cli = FerryCli(tmp_path / "ferry", mysql_pair, "never_made")
    first = cli.manifest()
    second = first.rename(first.with_name("other.yaml"))
    for verb in ("run", "check"):
        done = ferry(verb, "-f", str(cli.manifest()), "-f", str(second), cwd=cli.folder)
        done.refused(64, "SeveralFerries", "ferry.yaml", "other.yaml")
        assert sorted(entry.name for entry in cli.folder.iterdir()) == ["ferry.yaml", "other.yaml"]


SECRETS: dict[str, tuple[Callable[[FerryCli], object], str, tuple[str, ...]]] = {
    "missing": (
        lambda cli: cli.documents[1]["metadata"].update(name="orders-sauce"),
        "SecretNotFound",
        ("Secret orders-source", "spec.source.credentialsSecretRef", "did you mean orders-sauce?"),
    ),
    "key missing": (
        lambda cli: cli.documents[2]["stringData"].pop("password"),
        "SecretKeyNotFound",
        ("Secret orders-target", "no key password", "it has 1 other key"),
    ),
    "no base64": (
        lambda cli: cli.documents[1].update(data={"username": "r%%t", "password": encoded("x")}, stringData={}),
        "SecretInvalid",
        ("data.username", "base64"),
    ),
    "elsewhere": (
        lambda cli: cli.documents[1]["metadata"].update(namespace="lager"),
        "SecretNotFound",
        ("there is one in namespace lager",),
    ),
}


@pytest.mark.parametrize("mistake", SECRETS)
def test_secret(tmp_path: Path, mysql_pair: Pair, mistake: str) -> None:
    spoil, reason, words = SECRETS[mistake]
    cli = FerryCli(tmp_path / "ferry", mysql_pair, "never_made")
    spoil(cli)
    for done in (cli.run(), cli.check()):
        line = done.refused(64, reason, *words)
        assert mysql_pair.source.password not in line
        assert sorted(entry.name for entry in cli.folder.iterdir()) == ["ferry.yaml"]


def test_secrets_folder(tmp_path: Path, one: FerryCli) -> None:
    """Secrets as a Pod sees them; the message for a missing one contains its path."""
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
