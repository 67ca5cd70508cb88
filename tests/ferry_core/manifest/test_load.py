"""Everything that can be wrong with a manifest and its Secrets: one message that says where, what and how to fix it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ferry_core.api import crd
from ferry_core.api.durations import DURATION_PATTERN, QUANTITY_PATTERN
from ferry_core.api.spec import Ferry
from ferry_core.errors import ConfigError
from ferry_core.http_post import without_secrets
from ferry_core.manifest import load
from ferry_core.manifest.validation_errors import FORMS
from tests.support.kube_api import Authority
from tests.support.manifests import encoded, ferry_data, secret_data, write, write_ferry


def refusal(*files: Path, secrets: Path | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(files, secrets)
    error = caught.value
    assert error.exit_code == 64
    assert "pydantic" not in error.message
    assert len(error.message) < 500
    print(error)
    return error


def spoilt(folder: Path, place: str, value: object) -> Path:
    """A Ferry whose field at ``place`` has an invalid ``value``."""
    data = ferry_data()
    at: dict[str, Any] = data
    *above, last = place.split(".")
    for step in above:
        at = at.setdefault(step, {})
    at[last] = value
    return write_ferry(folder, data)


def test_reads_a_ferry_and_its_secrets(tmp_path: Path) -> None:
    loaded = load([write_ferry(tmp_path, ferry_data())])
    assert (loaded.source.role, loaded.source.address, loaded.source.user) == ("source", "old.example:3306", "ferry")
    assert loaded.target.password == "pässword"
    assert loaded.source.tls is not None
    assert not loaded.source.tls_required
    assert "pässword" not in repr(loaded)
    assert len(loaded.notices) == 2
    assert "source.tls.mode is Preferred: nothing proves that old.example:3306 is your server" in loaded.notices[0]


@pytest.mark.parametrize(("host", "mode"), [("127.0.0.1", "Preferred"), ("db.example", "VerifyCA")])
def test_no_notice_about_a_server_that_is_verified_or_on_this_machine(tmp_path: Path, host: str, mode: str) -> None:
    server = {"host": host, "tls": {"mode": mode}, "credentialsSecretRef": {"name": "orders-source"}}
    changed = spoilt(tmp_path, "spec.source", server | {"primary": {"host": host}})
    assert [text for text in load([changed]).notices if "spec.source" in text] == []


def test_reads_several_files_and_base64(tmp_path: Path) -> None:
    coded = secret_data("orders-target")
    del coded["stringData"]
    coded["data"] = {"username": encoded("mover"), "password": encoded("geheim\n")}
    ferry = write(tmp_path, ferry_data(), name="a.yaml")
    secrets = write(tmp_path, secret_data("orders-source"), coded, name="b.yaml")
    loaded = load([ferry, secrets])
    assert (loaded.target.user, loaded.target.password) == ("mover", "geheim")


def test_reads_the_output_of_kubectl(tmp_path: Path) -> None:
    data = ferry_data(ttlSecondsAfterFinished=None)
    data["metadata"] |= {"uid": "4a7c", "resourceVersion": "17", "managedFields": [{"manager": "kubectl"}]}
    data["status"] = {"stage": "Pending"}
    assert load([write_ferry(tmp_path, data)]).ferry.metadata.uid == "4a7c"


def test_reads_secrets_the_way_a_pod_sees_them(tmp_path: Path) -> None:
    for name in ("orders-source", "orders-target"):
        folder = tmp_path / "secrets" / name
        folder.mkdir(parents=True)
        (folder / "username").write_text("ferry\n")
        (folder / "password").write_text("first")
    loaded = load([write(tmp_path, ferry_data())], tmp_path / "secrets")
    assert (loaded.source.user, loaded.source.password) == ("ferry", "first")
    (tmp_path / "secrets" / "orders-target" / "password").write_text("second")
    source, target = loaded.reload_credentials()
    assert (source.password, target.password) == ("first", "second")


def test_times_and_numbers_need_no_quotation_marks(tmp_path: Path) -> None:
    path = tmp_path / "ferry.yaml"
    text = yaml.safe_dump_all([ferry_data(tables={"include": ["1.a"], "renameSchemas": {"1": "2"}})])
    path.write_text(text.replace("'1':", "1:"))
    secrets = write(tmp_path, secret_data("orders-source"), secret_data("orders-target"), name="secrets.yaml")
    assert load([path, secrets]).ferry.spec.tables.rename_schemas == {"1": "2"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: [Ferry", "line 1"),
        ("kind: Ferry\n\tspec: {}", "wants spaces, not tabs"),
        ("kind: Ferry\nkind: Ferry", "line 2: found the key kind a second time"),
        ("a: &a [*a]", "an alias that contains itself"),
        ("kind: !!python/object:os.system {}", "line 1"),
        ("kind: Ferry\n  spec: x\n y: 1", "line 2"),
        ("just words", "must be a mapping"),
        ("- kind: Ferry", "must be a mapping"),
        ("kind: \x07", "not allowed"),
        ("? [a, b]\n: c", "a key that is not plain text"),
        ("kind: !!binary aGk=", "found a tag (a text that begins with !"),
        ("kind: !!int Ferry", "a value that is not int"),
        (f"a: 0x{'f' * 5000}", "more than 64 bits"),
        ("a: 99999999999999999999", "more than 64 bits"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_malformed_yaml(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "ferry.yaml"
    path.write_text(text)
    error = refusal(path)
    assert error.reason == "MalformedYaml"
    assert told in error.message
    assert str(path) in error.message


def test_a_bomb_of_aliases(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines))
    assert refusal(path).reason == "MalformedYaml"


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "ferry.yaml"
    path.write_bytes("kind: Ferry\nwhere: 'ä'".encode("latin-1"))
    error = refusal(path)
    assert (error.reason, "line 2" in error.message) == ("MalformedYaml", True)


def test_no_such_file(tmp_path: Path) -> None:
    error = refusal(tmp_path / "ferry.yaml")
    assert error.reason == "ManifestUnreadable"
    assert "No such file" in error.message
    assert refusal(tmp_path).reason == "ManifestUnreadable"


@pytest.mark.parametrize(
    ("place", "value", "hint"),
    [
        ("spec.cutover.deadlin", "5s", "spec.cutover.deadlin: no such field; did you mean deadline?"),
        ("spec.cutover.max_lag", "5s", "did you mean maxLag?"),
        ("spec.deadline", "5s", "did you mean spec.cutover.deadline?"),
        ("spec.source.credentialSecretRef", {"name": "x"}, "did you mean credentialsSecretRef?"),
        ("metadata.namspace", "shop", "did you mean namespace?"),
        ("specs", {}, "did you mean spec?"),
        ("spec.copier.template.metadata.name", "mine", "template.metadata.name: no such field"),
        ("spec.verify.xyzzy", 1, "the fields here are mode, onMismatch"),
    ],
)
def test_an_unknown_field_and_the_nearest_right_one(tmp_path: Path, place: str, value: object, hint: str) -> None:
    error = refusal(spoilt(tmp_path, place, value))
    assert error.reason == "UnknownField"
    assert hint in error.message


def test_the_line_is_that_of_the_field(tmp_path: Path) -> None:
    path = spoilt(tmp_path, "spec.tables.rules", [{"match": "a.b"}, {"match": "a.c", "wher": "x"}])
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if "wher:" in text)
    error = refusal(path)
    assert f"{path}, line {line}: spec.tables.rules[1].wher: no such field; did you mean where?" in error.message


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("spec.source.port", "3306", "spec.source.port must be a whole number, not the text '3306'"),
        ("spec.source.port", 70000, "must be at most 65535, and this is the number 70000"),
        ("spec.paused", "yes", "spec.paused must be true or false, not the text 'yes'"),
        ("spec.tables.include", "shop.*", "spec.tables.include must be a list, not the text 'shop.*'"),
        ("spec.tables.include", [], "must not be empty"),
        ("spec.tables.include", ["orders"], "spec.tables.include[0]: must be schema.table, for example"),
        ("spec.tables.include", [5], "spec.tables.include[0] must be text, not the number 5"),
        ("spec.tables", ["shop.*"], "spec.tables must be a mapping of fields, not a list"),
        ("spec.copier.template.metadata.labels", {"a": 5}, "template.metadata.labels.a must be text"),
        ("spec.tables.renameSchemas", {"a": 5}, "spec.tables.renameSchemas.a must be text"),
        (
            "spec.cutover.mode",
            "Automatc",
            "one of Manual, Automatic or Scheduled, not the text 'Automatc'; did you mean",
        ),
        ("spec.cutover.deadline", 10, "must be a duration as text, for example 500ms"),
        ("spec.cutover.deadline", "10 s", "is not a duration"),
        ("spec.copy.chunkTargetBytes", "8MB", "is not a quantity"),
        ("spec.copy.workers", 2.5, "must be a whole number"),
        ("spec.copy.workers", True, "must be a whole number, not the boolean true"),
        ("spec.cutover.notBefore", "tomorrow", "a time with its zone"),
        ("spec.cutover.notBefore", "2026-12-01T02:00:00", "a time with its zone"),
        ("spec.cutover.notBefore", "2026-12-01T02:00Z", "a time with its zone"),
        ("spec.cutover.notAfter", 1764554400, "a time with its zone"),
        ("spec.cutover.notAfter", "2026-12-32T02:00:00Z", "a time with its zone"),
        ("spec.cutover.notBefore", "9999-12-31T23:59:59-23:00", "in the years 1 to 9999 in UTC"),
        ("spec.cutover.notAfter", "0001-01-01T00:00:00+14:00", "in the years 1 to 9999 in UTC"),
        ("metadata.generation", -1, "must be at least 0"),
        ("metadata.generation", 1 << 63, "must be at most 9223372036854775807"),
        ("spec.acknowledge", ["Everything"], "spec.acknowledge[0] must be one of"),
        ("spec.source.host", "", "spec.source.host: must not be empty"),
        ("apiVersion", "mysqlferry.io/v1", "must be one of mysqlferry.io/v1alpha1"),
        ("metadata.name", "Orders", "lower-case letters"),
    ],
)
def test_wrong_type_or_value(tmp_path: Path, place: str, value: object, told: str) -> None:
    error = refusal(spoilt(tmp_path, place, value))
    assert error.reason == "InvalidField"
    assert told in error.message


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("spec.notifications", [{"url": "ftp://x/"}], "notifications[0].url: must be a URL that begins with http://"),
        ("spec.cutover.webhooks.lock.url", "x", "webhooks.lock.url: must be a URL that begins with http://"),
        ("spec.source.credentialsSecretRef.usernameKey", "a b", "letters, digits, -, _ and ., for example password"),
        ("spec.source.credentialsSecretRef.name", "A", "for example orders-source"),
        ("spec.tables.rules", [{"match": "a.b", "target": "b"}], "target: must be schema.table, for example"),
        ("spec.tables.rules", [{"match": "b"}], "match: must be schema.table, for example shop.* or shop.orders"),
        ("spec.tables.include", [""], "include[0]: must be schema.table"),
        ("spec.throttle.activeHours", "20-6 UTC", "must be two times of day and a time zone, for example 20:00-06:00"),
        ("spec.source.socket", "/", "must be an absolute path, for example"),
        *((f"spec.{at}host", host, "must be a host name or address without port") for at, host in (
            ("source.", "p:3306"), ("source.primary.", "p:3306"), ("target.", "10.0.0.1:3306"), ("source.", "[::1]")
        )),
        ("spec.source.host", "a::b::c", "must be an IPv6 address if it has colons"),
    ],
)  # fmt: skip
def test_a_text_of_the_wrong_form(tmp_path: Path, place: str, value: object, told: str) -> None:
    error = refusal(spoilt(tmp_path, place, value))
    assert error.reason == "InvalidField"
    assert told in error.message
    assert "^" not in error.message


def _patterns(described: object) -> Iterator[str]:
    if isinstance(described, dict):
        if isinstance(described.get("pattern"), str):
            yield described["pattern"]
        for each in described.values():
            yield from _patterns(each)
    elif isinstance(described, list):
        for each in described:
            yield from _patterns(each)


def test_every_pattern_has_a_sentence_and_no_sentence_is_left_over() -> None:
    used = set(_patterns(Ferry.model_json_schema()))
    assert set(_patterns(crd.definition())) <= used
    assert set(FORMS) == used - {DURATION_PATTERN, QUANTITY_PATTERN}
    assert all("for example" in form for form in FORMS.values())


@pytest.mark.parametrize("host", ["::1", "2001:db8::1", "fe80::1%eth0", "::ffff:10.0.0.1", "db.example", "10.0.0.1"])
def test_hosts_that_are_accepted(tmp_path: Path, host: str) -> None:
    assert load([spoilt(tmp_path, "spec.source.host", host)]).ferry.spec.source.host == host


def test_the_scheme_of_a_url_may_be_in_upper_case(tmp_path: Path) -> None:
    url = "HTTPS://hooks.example/x"
    (told,) = load([spoilt(tmp_path, "spec.notifications", [{"url": url}])]).ferry.spec.notifications
    assert told.url == url
    assert without_secrets(told.url) == "HTTPS://hooks.example"


@pytest.mark.parametrize("place", ["spec.tables", "spec.source", "spec.tables.include", "metadata.name", "apiVersion"])
def test_a_missing_field(tmp_path: Path, place: str) -> None:
    error = refusal(spoilt(tmp_path, place, None))
    assert (error.reason, f"{place} is required" in error.message) == ("MissingField", True)


def test_a_rule_between_fields_and_other_mistakes_are_named(tmp_path: Path) -> None:
    error = refusal(spoilt(tmp_path, "spec.cutover", {"mode": "Scheduled"}))
    assert error.reason == "RuleViolated"
    assert "spec.cutover: mode Scheduled needs notBefore" in error.message
    error = refusal(spoilt(tmp_path, "spec.copy", {"workers": "x", "wrkrs": 4}))
    assert "did you mean workers?; also wrong: line " in error.message
    assert error.message.endswith(": spec.copy.workers must be a whole number, not the text 'x'")


def test_a_misspelt_field_is_not_also_missing(tmp_path: Path) -> None:
    error = refusal(spoilt(tmp_path, "spec.tables", {"inclde": ["a.*"]}))
    assert error.message.endswith("spec.tables.inclde: no such field; did you mean include?")


def test_two_ferries(tmp_path: Path) -> None:
    first = write_ferry(tmp_path, ferry_data())
    second = write(tmp_path, ferry_data(), name="second.yaml")
    error = refusal(first, second)
    assert error.reason == "SeveralFerries"
    assert str(first) in error.message
    assert str(second) in error.message


def test_no_ferry(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, secret_data("a"))).reason == "NoFerry"
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing\n---\n")
    assert refusal(empty).reason == "NoFerry"
    misspelt = refusal(write(tmp_path, ferry_data() | {"kind": "Fery"}))
    assert "did you mean Ferry?" in misspelt.message
    unkind = ferry_data()
    del unkind["kind"]
    assert "kind is required" in refusal(write(tmp_path, unkind)).message


def test_a_missing_secret(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, ferry_data(), secret_data("orders-sorce")))
    assert error.reason == "SecretNotFound"
    assert "orders-source, named by spec.source.credentialsSecretRef" in error.message
    assert "did you mean orders-sorce?" in error.message
    error = refusal(write(tmp_path, ferry_data()), secrets=tmp_path)
    assert f"{tmp_path / 'orders-source'} is not a folder" in error.message
    assert refusal(write(tmp_path, ferry_data()), secrets=tmp_path / "none").reason == "SecretNotFound"


def test_an_empty_folder_is_reported_as_a_missing_secret(tmp_path: Path) -> None:
    (tmp_path / "orders-source").mkdir()
    error = refusal(write(tmp_path, ferry_data()), secrets=tmp_path)
    assert error.reason == "SecretNotFound"
    assert (
        "Secret orders-source, named by spec.source.credentialsSecretRef, does not exist or is empty" in error.message
    )


def test_a_secret_of_another_namespace_is_not_used(tmp_path: Path) -> None:
    stranger = secret_data("orders-source")
    stranger["metadata"]["namespace"] = "other"
    error = refusal(write(tmp_path, ferry_data(), stranger))
    assert "there is one in namespace other" in error.message


def test_a_missing_key(tmp_path: Path) -> None:
    secret = secret_data("orders-source")
    secret["stringData"]["passwort"] = secret["stringData"].pop("password")
    error = refusal(write(tmp_path, ferry_data(), secret, secret_data("orders-target")))
    assert error.reason == "SecretKeyNotFound"
    assert "has no key password (it has 2 other keys); add it; did you mean passwort?" in error.message
    folder = tmp_path / "secrets" / "orders-source"
    folder.mkdir(parents=True)
    (folder / "username").write_text("ferry")
    error = refusal(write(tmp_path, ferry_data()), secrets=tmp_path / "secrets")
    assert (error.reason, "it has 1 other key" in error.message) == ("SecretKeyNotFound", True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data": {"username": "not base64!"}, "stringData": {"password": "x"}}, "is not valid base64"),
        ({"data": {"username": "YQ"}, "stringData": {"password": "x"}}, "is not valid base64"),
        ({"data": {"username": encoded("a"), "password": "//79"}, "stringData": {}}, "is not UTF-8 text"),
        ({"stringData": {"username": "", "password": "x"}}, "is empty"),
        ({"stringData": {"username": "a", "password": "x\ny"}}, "more than one line"),
        ({"stringData": {"username": "a", "password": 12345}}, "write it in quotation marks"),
        ({"stringData": ["username"]}, "must be a mapping"),
        ({"metadata": {}}, "without metadata.name"),
    ],
)
def test_a_secret_that_cannot_be_read(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    secret = secret_data("orders-source") | changes
    error = refusal(write(tmp_path, ferry_data(), secret, secret_data("orders-target")))
    assert error.reason == "SecretInvalid"
    assert told in error.message
    assert "12345" not in error.message


def test_a_secret_given_twice(tmp_path: Path) -> None:
    twice = [secret_data("orders-source")] * 2
    assert refusal(write(tmp_path, ferry_data(), *twice)).reason == "SecretInvalid"


def test_a_key_that_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "orders-source" / "username").mkdir(parents=True)
    assert refusal(write(tmp_path, ferry_data()), secrets=tmp_path).reason == "SecretInvalid"


def test_tls_material_comes_from_its_secret(tmp_path: Path) -> None:
    source = ferry_data()["spec"]["source"] | {"tls": {"mode": "VerifyIdentity", "secretRef": {"name": "tls"}}}
    secrets = [secret_data("orders-source"), secret_data("orders-target")]
    good = {"kind": "Secret", "metadata": {"name": "tls"}, "stringData": {"ca.crt": Authority().certificate.decode()}}
    loaded = load([write(tmp_path, ferry_data(source=source), *secrets, good)])
    assert loaded.source.tls is not None
    assert loaded.source.tls.check_hostname
    assert loaded.source.tls_required
    bad = good | {"stringData": {"ca.crt": "no certificate"}}
    error = refusal(write(tmp_path, ferry_data(source=source), *secrets, bad))
    assert (error.reason, "ca.crt of Secret tls" in error.message) == ("TlsMaterialInvalid", True)
    error = refusal(write(tmp_path, ferry_data(source=source), *secrets))
    assert "tls, named by spec.source.tls.secretRef" in error.message


def test_replicas_have_their_own_login_or_that_of_their_server(tmp_path: Path) -> None:
    own = {"credentialsSecretRef": {"name": "watcher"}, "tls": {"mode": "Disabled"}}
    spec = ferry_data()["spec"]
    source = spec["source"] | {"replicas": [{"host": "r1"}, {"host": "r2", "port": 3307} | own]}
    target = spec["target"] | {"replicas": [{"host": "r3"}], "tls": {"mode": "Required"}}
    secrets = [secret_data("orders-source", "a"), secret_data("orders-target", "b")]
    watcher = secret_data("watcher", "w", "own")
    loaded = load([write(tmp_path, ferry_data(source=source, target=target), *secrets, watcher)])
    found = [(one.address, one.user, one.tls is not None, one.tls_required) for one in loaded.replicas()]
    assert found == [("r1:3306", "a", True, False), ("r2:3307", "w", False, False), ("r3:3306", "b", True, True)]
    assert loaded.replicas()[1].where == "replica r2:3307"
    error = refusal(write(tmp_path, ferry_data(source=source), *secrets))
    assert "watcher, named by spec.source.replicas[1].credentialsSecretRef" in error.message


def test_a_primary_has_its_own_login_or_that_of_the_source(tmp_path: Path) -> None:
    spec = ferry_data()["spec"]
    secrets = [secret_data("orders-source", "a"), secret_data("orders-target", "b")]
    alike = spec["source"] | {"tls": {"mode": "Required"}, "primary": {"host": "p"}}
    loaded = load([write(tmp_path, ferry_data(source=alike), *secrets)])
    assert loaded.primary is not None
    found = loaded.primary()
    assert (found.where, found.user, found.tls_required, found.fields) == (
        *("primary p:3306", "a", True),
        "spec.source.primary.",
    )
    own = {"credentialsSecretRef": {"name": "watcher"}, "tls": {"mode": "Disabled"}}
    source = spec["source"] | {"primary": {"host": "p", "port": 3307} | own}
    loaded = load([write(tmp_path, ferry_data(source=source), *secrets, secret_data("watcher", "w", "own"))])
    assert loaded.primary is not None
    assert (loaded.primary().address, loaded.primary().user, loaded.primary().tls) == ("p:3307", "w", None)
    error = refusal(write(tmp_path, ferry_data(source=source), *secrets))
    assert "watcher, named by spec.source.primary.credentialsSecretRef" in error.message
    events = ferry_data(source=source, schema={"objects": {"events": "Create"}})
    assert "a replica shows every event as disabled" in refusal(write(tmp_path, events, *secrets)).message
    for lock in ("LockTables", "None"):
        other = ferry_data(source=source, cutover={"sourceLock": lock})
        assert "sourceLock must be ReadOnly" in refusal(write(tmp_path, other, *secrets)).message


def test_disabled_tls_has_no_context(tmp_path: Path) -> None:
    source = ferry_data()["spec"]["source"] | {"tls": {"mode": "Disabled"}}
    assert load([write_ferry(tmp_path, ferry_data(source=source))]).source.tls is None


LEAKS = {
    "a tag": "stringData:\n  username: a\n  password: !hunter2",
    "an alias": "stringData: {username: a, password: *hunter2}",
    "an anchor": "stringData: {username: &hunter2 a, password: &hunter2 b, other: *hunter2 }\nx: {<<: 1",
    "a tag handle": "stringData:\n  username: a\n  password: !hunter2!x",
    "a key": "stringData: {username: a, hunter2: b}",
    "in place of the keys": "stringData: hunter2",
    "a number": "stringData: {username: a, password: 4711}",
    "half of a character": 'stringData: {username: a, password: "hunter2\\ud800"}',
}


@pytest.mark.parametrize("how", LEAKS)
def test_a_password_in_the_wrong_form_is_not_shown(tmp_path: Path, how: str) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text(f"apiVersion: v1\nkind: Secret\nmetadata: {{name: orders-source}}\n{LEAKS[how]}\n")
    error = refusal(write(tmp_path, ferry_data(), secret_data("orders-target")), secret)
    assert "hunter2" not in error.message
    assert "4711" not in error.message


def test_a_password_as_a_whole_file_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret.yaml"
    file.write_text("hunter2")
    assert "hunter2" not in refusal(file).message


@pytest.mark.parametrize("host", ["root:hunter2@db.example", "mysql://root:hunter2@db.example:3306/shop"])
def test_a_password_in_the_host_is_not_shown(tmp_path: Path, host: str) -> None:
    error = refusal(spoilt(tmp_path, "spec.source.host", host))
    assert "a host name or address without port" in error.message
    assert "and this is a text with @" in error.message
    assert "hunter2" not in error.message


@pytest.mark.parametrize("token", ["geheim\rgeheim", "geheim\tgeheim", "geheim\u20ac"])
def test_a_token_that_no_header_can_carry(tmp_path: Path, token: str) -> None:
    hook = {"url": "https://gate.example/", "tokenSecretRef": {"name": "gate"}}
    cutover = {"sourceLock": "Webhook", "webhooks": {"lock": hook, "unlock": hook}}
    gate = secret_data("gate") | {"stringData": {"token": token}}
    ferry = ferry_data(cutover=cutover)
    error = refusal(write(tmp_path, ferry, secret_data("orders-source"), secret_data("orders-target"), gate))
    assert error.reason == "SecretInvalid"
    assert "only printable ASCII" in error.message
    assert "geheim" not in error.message


SOCKET = "/run/mysqld/mysqld.sock"
LOGIN = {"credentialsSecretRef": {"name": "orders-source"}}


def test_a_server_named_by_its_socket(tmp_path: Path) -> None:
    replicas = [{"socket": "/run/replica.sock"}, {"host": "replica.example"}]
    loaded = load([write_ferry(tmp_path, ferry_data(source=LOGIN | {"socket": SOCKET, "replicas": replicas}))])
    assert (loaded.source.address, loaded.source.where) == (SOCKET, f"source {SOCKET}")
    assert loaded.source.tls is None
    assert not loaded.source.tls_required
    assert loaded.source.login["unix_socket"] == SOCKET
    local, remote = loaded.replicas()
    assert (local.address, local.tls) == ("/run/replica.sock", None)
    assert remote.address == "replica.example:3306"
    assert remote.tls is not None


def test_the_primary_of_a_source_by_tls_may_have_a_socket(tmp_path: Path) -> None:
    source = LOGIN | {"host": "old.example", "tls": {"mode": "VerifyCA"}, "primary": {"socket": SOCKET}}
    loaded = load([write_ferry(tmp_path, ferry_data(source=source))])
    assert loaded.primary is not None
    primary = loaded.primary()
    assert (primary.address, primary.tls, primary.tls_required) == (SOCKET, None, False)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"host": "old.example", "socket": SOCKET}, "host and socket exclude each other: keep host"),
        ({}, "host is required, or socket for a server on this machine; add one"),
        ({"socket": SOCKET, "port": 3306}, "a socket has no port: remove port, or give host instead of socket"),
        ({"socket": SOCKET, "tls": {"mode": "Required"}}, "a socket needs no TLS, because nothing leaves the machine"),
        ({"socket": "mysqld.sock"}, "spec.source.socket: must be an absolute path, for example /run/mysqld"),
        ({"sockt": SOCKET}, "spec.source.sockt: no such field; did you mean socket?"),
    ],
)
def test_a_server_is_named_by_host_or_socket(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    error = refusal(write_ferry(tmp_path, ferry_data(source=LOGIN | fields)))
    assert words in error.message
    assert "spec.source" in error.message
    assert "ferry.yaml, line " in error.message


def test_one_socket_is_one_server(tmp_path: Path) -> None:
    error = refusal(
        write_ferry(tmp_path, ferry_data(**dict.fromkeys(("source", "target"), LOGIN | {"socket": SOCKET})))
    )
    assert "source and target are the same server" in error.message
