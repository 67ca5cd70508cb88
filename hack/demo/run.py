"""`make demo`: a real Kubernetes, two MySQL servers, an application that never stops writing, and one Ferry.

Every command is printed as a user would type it. At the end the tests' comparer, which shares no code with the engine,
compares both servers. Everything keeps running afterwards; `make demo-down` removes it.
"""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hack.demo import place, traces
from hack.demo.place import Place, say
from hack.families import Family
from hack.installing import Unavailable
from tests.support.compare import Compared, assert_equal_schemas
from tests.support.servers import Server

FERRY = ("ferry", "orders", "--namespace=shop")
WAIT_SECONDS = 300


def install(at: Place) -> None:
    """Install the operator as docs/install.md says."""
    say("the operator, by its Helm chart")
    at.run("kubectl", "apply", "--filename", "hack/demo/namespace.yaml")
    chart = ("helm", "upgrade", "--install", "ferry", "deploy/helm/ferry", "--namespace=ferry-system")
    at.run(*chart, *image_values(at.image), "--wait", "--timeout=3m", "--hide-notes")


def image_values(image: str) -> list[str]:
    """The chart's values for an image's name."""
    name, _, digest = image.partition("@")
    folder, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    values = {"repository": folder + slash + last, "tag": tag or "latest", "digest": digest}
    return [f"--set=image.{key}={value}" for key, value in values.items() if value]


def databases(at: Place) -> None:
    """Start a source, a target, and the application on the source."""
    say("two MySQL servers, and an application that fills the source and goes on writing to it")
    at.run("kubectl", "apply", "--filename", at.manifest("databases.yaml"))
    at.run("kubectl", "wait", "--for=condition=Ready", "pod/source", "pod/target", "--namespace=shop", "--timeout=180s")
    at.run("kubectl", "create", "configmap", "app", "--namespace=shop", "--from-file=hack/demo/app.py")
    at.run("kubectl", "apply", "--filename", at.manifest("app.yaml"))
    at.run("kubectl", "wait", "--for=condition=Ready", "pod/app", "--namespace=shop", "--timeout=180s")


def patch(at: Place, spec: dict[str, object]) -> None:
    at.run("kubectl", "patch", *FERRY, "--type=merge", "--patch", json.dumps({"spec": spec}))


def wait(at: Place, condition: str) -> None:
    at.run("kubectl", "wait", *FERRY, f"--for={condition}", f"--timeout={WAIT_SECONDS}s")


def status(at: Place) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(at.read("kubectl", "get", *FERRY, "--output=jsonpath={.status}"))
    return found


def cross(at: Place) -> None:
    """Everything that a person does with a Ferry."""
    say("the Ferry, at first no faster than 20,000 rows a second")
    at.run("kubectl", "apply", "--filename", "hack/demo/ferry.yaml")
    wait(at, "jsonpath={.status.stage}=Copying")
    with watched(at):
        say("pause")
        patch(at, {"paused": True})
        wait(at, "condition=Paused")
        say("resume, as fast as the servers can")
        patch(at, {"paused": False, "throttle": {"maxRowsPerSecond": None}})
        wait(at, "condition=ReadyForCutover")
        say("cut over")
        patch(at, {"cutover": {"approved": True}})
        wait(at, "condition=Succeeded")
    at.run("kubectl", "get", *FERRY, "--output=wide")
    at.run("kubectl", "events", "--for=ferry/orders", "--namespace=shop")


@contextlib.contextmanager
def watched(at: Place) -> Iterator[None]:
    """Print the Ferry's line whenever it changes, between other output."""
    watch = at.start("kubectl", "get", *FERRY, "--watch")
    try:
        yield
    finally:
        watch.terminate()
        watch.wait(10)


def judge(at: Place) -> Compared:
    """Compare both servers with the comparer."""
    say("are both sides equal?")
    with forwarded(at, "source") as source, forwarded(at, "target") as target:
        return assert_equal_schemas(source, target, "shop")


@contextlib.contextmanager
def forwarded(at: Place, name: str) -> Iterator[Server]:
    """A server in the cluster, forwarded to this machine's loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    forward = at.start("kubectl", "port-forward", f"pod/{name}", f"{port}:3306", "--namespace=shop", quiet=True)
    try:
        end = time.monotonic() + 30
        while not _listens(port):
            if time.monotonic() > end or forward.poll() is not None:
                raise Unavailable(f"kubectl port-forward to pod/{name} does not come up; see above")
            time.sleep(0.05)
        yield Server(Family.MYSQL, "127.0.0.1", port, "judge", "judge")
    finally:
        forward.terminate()
        forward.wait(10)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def report(at: Place, found: Compared, seconds: float) -> None:
    """Print what was done, in figures."""
    seen = status(at)
    at.run("kubectl", "logs", "pod/app", "--namespace=shop")
    blocked = seen["cutover"]["writesBlockedMilliseconds"]
    say(f"{seen['progress']['rowsCopied']:,} rows copied; writes were blocked for {blocked} ms; {seconds:.0f} s in all")
    say(f"both sides are equal: {found.tables} tables, {found.rows:,} rows, definitions included")


def main() -> int:
    options = place.options(__doc__ or "")
    began = time.monotonic()
    try:
        theirs = place.given()
        at = theirs or place.own(options.cluster)
        traces.refuse_foreign(at)
        install(at)
        traces.clear_shop(at)
        databases(at)
        cross(at)
        report(at, judge(at), time.monotonic() - began)
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if theirs is None:
        print(f"The cluster is still there: export KUBECONFIG={at.environment['KUBECONFIG']}")
    print("`make demo-down` ends it all.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
