"""A real one-node Kubernetes in namespaces of its own: etcd, control plane, containerd, kubelet, kube-proxy, DNS.

A module for the tests and the demo, and a small program:

    .venv/bin/python -m hack.kubernetes.cluster up NAME [IMAGE.tar ...]     prints the kubeconfig to use
    .venv/bin/python -m hack.kubernetes.cluster list
    .venv/bin/python -m hack.kubernetes.cluster down NAME ...

Several may run side by side. The machine and the node are joined by a veth pair: what listens on ``gateway`` here is
reached from Pods, and Pods and Services are reached from here by address.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hack.installing import Unavailable, apt_install, cache_folder, locked
from hack.kubernetes import node as process_1
from hack.kubernetes.components import NODE, PAUSE_IMAGE, Network, Node
from hack.kubernetes.images import write_image
from hack.servers import ProcessId

_HERE = Path(__file__).resolve().parent
_START_SECONDS = 300
_END_SECONDS = 120
_MOST = 64  # networks of four addresses in one of 256
_CGROUPS = Path("/sys/fs/cgroup")


def _run(*line: str | Path, check: bool = True) -> str:
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if check and done.returncode:
        raise Unavailable(f"`{' '.join(map(str, line))}` ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout.strip()


def _script(name: str, *arguments: str) -> Path:
    """Path of a script, which the script beside this module prints."""
    done = subprocess.run([_HERE / name, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"hack/kubernetes/{name} failed; see above")
    return Path(done.stdout.split()[-1])


def kubectl_path() -> Path:
    return _script("build.sh", "kubectl") / "kubectl"


@dataclass
class Cluster:
    """A running cluster. Its folder contains everything that it ever wrote."""

    name: str
    folder: Path
    network: Network
    init: ProcessId
    """Process 1 of the node. The cluster ends with it."""
    owner: ProcessId | None
    child: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "keys" / "admin.kubeconfig"

    @property
    def gateway(self) -> str:
        """This machine's address for Pods."""
        return self.network.gateway

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        return _run(kubectl_path(), f"--kubeconfig={self.kubeconfig}", *arguments, check=check)

    def load(self, *archives: Path) -> None:
        """Import the images of these archives into the node."""
        for archive in archives:
            self._ctr("images", "import", str(archive))

    def signal_container(self, container: str, signal_name: str) -> None:
        """Send a signal to the first process of a container, as the kernel does when memory is short."""
        self._ctr("tasks", "kill", f"--signal=SIG{signal_name}", container)

    def _ctr(self, *arguments: str) -> None:
        ctr = _script("debian.sh", "containerd") / "usr/bin/ctr"
        _run(ctr, f"--address={self.folder}/containerd.sock", "--namespace=k8s.io", *arguments)

    def signal(self, program: str, signal_name: str) -> None:
        """Send a signal to one of the node's programs. Process 1 restarts a program that ends."""
        pid = (self.folder / "pid" / program).read_text()
        _run("nsenter", f"--target={self.init.pid}", "--pid", "kill", f"-{signal_name}", pid)

    def log_tail(self, lines: int = 8) -> str:
        """The ends of all logs."""
        logs = sorted((self.folder / "log").iterdir())
        tails = [(log.name, log.read_text(errors="replace").splitlines()[-lines:]) for log in logs]
        return "\n".join(f"--- {name}\n" + "\n".join(tail) for name, tail in tails)

    def remove(self) -> None:
        """End it, and remove everything except the cache."""
        self.init.end(signal.SIGKILL, _END_SECONDS)
        if self.child is not None:
            self.child.wait(_END_SECONDS)
        _run("ip", "link", "delete", self.network.link, check=False)  # removed together with the node's network
        _remove_cgroups(_cgroup(self.name))
        shutil.rmtree(self.folder)


# -- which ones there are -------------------------------------------------------------------------------------------


def clusters_folder() -> Path:
    """Contains one folder per cluster, by name."""
    folder = cache_folder() / "clusters"
    folder.mkdir(exist_ok=True)
    return folder


def clusters() -> Iterator[Cluster]:
    """Every cluster on this machine, whoever started it."""
    for folder in sorted(clusters_folder().iterdir()):
        with contextlib.suppress(FileNotFoundError):
            state = json.loads((folder / "cluster.json").read_text())
            init, owner = (ProcessId(*state[key]) if state[key] else None for key in ("init", "owner"))
            assert init is not None
            yield Cluster(folder.name, folder, Network(state["index"]), init, owner)


def find(name: str) -> Cluster | None:
    """The cluster of that name, if it runs."""
    return next((each for each in clusters() if each.name == name and each.init.alive), None)


def sweep() -> None:
    """Remove clusters that a killed process, or a restart of the machine, left behind."""
    for cluster in clusters():
        if not cluster.init.alive or (cluster.owner is not None and not cluster.owner.alive):
            cluster.remove()


# -- up -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """Where the programs are. Building them takes some minutes, once."""

    kubernetes: Path
    debian: Path
    etcd: Path
    policies: bool

    @classmethod
    def provide(cls, *, policies: bool = False) -> "Parts":
        if os.geteuid() != 0:
            raise Unavailable("a cluster needs root: it makes namespaces, interfaces and mounts")
        needed = {"ip": "iproute2", "iptables": "iptables"} | ({"ipset": "ipset"} if policies else {})
        missing = [package for program, package in needed.items() if not shutil.which(program)]
        if missing:
            apt_install(*missing)
        debian = _script("debian.sh", "containerd", "runc", "containernetworking-plugins", "busybox-static")
        if policies:
            _script("build.sh", "kube-router")
        return cls(_script("build.sh"), debian, _script("etcd.sh"), policies)

    def pause_image(self) -> Path:
        """The image of the container that holds a Pod's network; it only sleeps."""
        path = cache_folder() / "kubernetes" / "pause.tar"
        if not path.exists():
            write_image(path, PAUSE_IMAGE, {"/bin/sleep": self.debian / "bin/busybox"}, ["/bin/sleep", "1000000000"])
        return path


def create(name: str, *archives: Path, owned: bool = False, policies: bool = False) -> Cluster:
    """A new cluster with a ready node that has the images of ``archives``. ``owned``: it ends with this process.

    With ``policies`` it enforces NetworkPolicies, by kube-router, which is built for it (some minutes, once).
    """
    parts = Parts.provide(policies=policies)
    with locked("clusters"):
        sweep()
        if find(name) is not None:
            raise Unavailable(f"there is a cluster {name} already; end it first")
        cluster = _launch(name, parts, owned=owned)
    try:
        _await_ready(cluster, [parts.pause_image(), *archives])
    except BaseException:
        cluster.remove()
        raise
    return cluster


def _launch(name: str, parts: Parts, *, owned: bool) -> Cluster:
    """Start process 1, and the link to it."""
    folder = clusters_folder() / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    taken = {each.network.index for each in clusters()}
    network = Network(next(index for index in range(_MOST) if index not in taken))
    node = Node(folder, network, _cgroup(name), parts.kubernetes, parts.debian, parts.etcd, parts.policies)
    node.write()
    _make_cgroups(node.cgroup)
    line = ["unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--mount", "--propagation=private", "--net"]
    if owned:
        line = ["setpriv", "--pdeathsig=KILL", "--", *line]
    line += [sys.executable, process_1.__file__, str(folder)]
    with (folder / "log" / "node.log").open("ab") as log:
        child = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    init = _child_of(child)
    if not owned:
        child.returncode = 0  # it outlives this process, which must not warn about that
    owner = ProcessId.of(os.getpid()) if owned else None
    cluster = Cluster(name, folder, network, init, owner, child)
    state = {"index": network.index, "init": [init.pid, init.started_at]}
    state["owner"] = owner and [owner.pid, owner.started_at]
    (folder / "cluster.json").write_text(json.dumps(state))
    _link(cluster)
    return cluster


def _child_of(process: "subprocess.Popen[bytes]") -> ProcessId:
    """The process that ``unshare`` has forked."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None:
        for pid in children.read_text().split():
            found = ProcessId.of(int(pid))
            if found is not None:
                return found
        time.sleep(0.01)
    raise Unavailable("namespaces cannot be made here; a cluster needs a machine, or a container with all privileges")


def _link(cluster: Cluster) -> None:
    """Create a veth pair whose other end is in the node's network, and routes to its Pods and Services."""
    network = cluster.network
    _run("ip", "link", "delete", network.link, check=False)
    peer = ("peer", "name", process_1.UPLINK, "netns", str(cluster.init.pid))
    _run("ip", "link", "add", network.link, "type", "veth", *peer)
    _run("ip", "address", "add", f"{network.gateway}/30", "dev", network.link)
    _run("ip", "link", "set", network.link, "up")
    for destination in (network.pods, network.services):
        _run("ip", "route", "add", destination, "via", network.node)


def _await_ready(cluster: Cluster, archives: list[Path]) -> None:
    def loaded() -> None:
        cluster.load(*archives)

    def ready() -> None:
        cluster.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=10s")
        cluster.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=10s")

    deadline = time.monotonic() + _START_SECONDS
    for step in (loaded, ready):
        while True:
            try:
                step()
                break
            except Unavailable as error:
                if not cluster.init.alive or time.monotonic() > deadline:
                    raise Unavailable(f"the cluster does not start: {error}\n{cluster.log_tail()}") from error
                time.sleep(0.1)


# -- cgroups --------------------------------------------------------------------------------------------------------


def _cgroup(name: str) -> str:
    return f"ferry-{name}"


def _make_cgroups(name: str) -> None:
    """One for all Pods of the cluster, in each hierarchy: v1 has one per controller, v2 a single one."""
    unified = (_CGROUPS / "cgroup.controllers").exists()
    for top in [_CGROUPS] if unified else (each for each in _CGROUPS.iterdir() if each.name != "unified"):
        (top / name).mkdir(exist_ok=True)


def _remove_cgroups(name: str) -> None:
    """Remove them. Killed processes leave a cgroup only once the kernel has reaped them."""
    deadline = time.monotonic() + _END_SECONDS
    for top in (*_CGROUPS.glob(f"*/{name}"), *_CGROUPS.glob(name)):
        while top.exists():
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            if time.monotonic() > deadline:
                raise Unavailable(f"{top} cannot be removed: processes are left in it")


# -- the program ----------------------------------------------------------------------------------------------------


def _main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="hack.kubernetes.cluster", description="Throwaway one-node Kubernetes.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a cluster; it runs until taken down")
    up.add_argument("name")
    up.add_argument("archives", nargs="*", type=Path, help="images to load")
    commands.add_parser("list", help="every cluster on this machine")
    down = commands.add_parser("down", help="end clusters and remove what they wrote")
    down.add_argument("names", nargs="+")
    options = parser.parse_args(arguments)
    try:
        return _act(options)
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1


def _act(options: argparse.Namespace) -> int:
    if options.command == "up":
        print(f"export KUBECONFIG={create(options.name, *options.archives).kubeconfig}")
        return 0
    chosen = [each for each in clusters() if options.command == "list" or each.name in options.names]
    for cluster in chosen:
        if options.command == "list":
            state = "running" if cluster.init.alive else "dead"
            print(f"{cluster.name}  {state}  node {cluster.network.node}  KUBECONFIG={cluster.kubeconfig}")
        else:
            cluster.remove()
            print(f"{cluster.name} ended")
    return 0 if options.command == "list" or len(chosen) == len(set(options.names)) else 1


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
