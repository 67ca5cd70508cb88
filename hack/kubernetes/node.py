"""Process 1 of a node: prepares its private view of the machine, keeps its programs running, reaps child processes.

Started by ``cluster.py`` in its own network, mount and process namespace. When it dies, the kernel ends every process
in there, together with mounts, interfaces and Pods: nothing else is needed to remove a node. Standard library only:
``node.py FOLDER`` reads ``FOLDER/node.json``.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

UPLINK = "uplink"
_RESTART_SECONDS = 1.0
# The kubelet sets these; they belong to the machine, so the node gets copies.
_SYSCTLS = {"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1"}


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _own_view(folder: Path) -> None:
    """Bind-mount folders of this node over the fixed paths that kubelet, containerd and kube-proxy write to."""
    _mount("-t", "tmpfs", "node-run", "/run")
    for path, name in (("/var/lib", "var-lib"), ("/var/log", "var-log")):
        (folder / name).mkdir()
        _mount("--bind", str(folder / name), path)
    for number, (name, value) in enumerate(_SYSCTLS.items()):
        copy = folder / f"sysctl-{number}"
        copy.write_text(value)
        _mount("--bind", str(copy), f"/proc/sys/{name}")
    if os.path.ismount("/sys/fs/cgroup/unified"):
        subprocess.run(["umount", "--lazy", "/sys/fs/cgroup/unified"], check=True)  # by this runc recognises cgroups v2


def _network(address: str, gateway: str) -> None:
    """``cluster.py`` moves the other end of the link here."""
    while UPLINK not in (name for _, name in socket.if_nameindex()):
        time.sleep(0.02)
    for line in (
        "link set lo up",
        f"address add {address}/30 dev {UPLINK}",
        f"link set {UPLINK} up",
        f"route add default via {gateway}",
    ):
        subprocess.run(["ip", *line.split()], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


class Programs:
    """The programs of the node. A program that ends is restarted after a second."""

    def __init__(self, folder: Path, lines: dict[str, list[str]]) -> None:
        self._folder = folder
        self._lines = lines
        self._running: dict[int, str] = {}

    def start(self, name: str) -> None:
        with (self._folder / "log" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(self._lines[name], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        process.returncode = 0  # reaped below, with all the other children of process 1
        self._running[process.pid] = name
        (self._folder / "pid" / name).write_text(str(process.pid))  # process ids of the node's namespace

    def keep(self) -> None:
        """Never returns."""
        for name in self._lines:
            self.start(name)
        while True:
            pid, _ = os.wait()  # reaps orphans too
            if pid in self._running:
                time.sleep(_RESTART_SECONDS)
                self.start(self._running.pop(pid))


def main(folder: Path) -> None:
    told = json.loads((folder / "node.json").read_text())
    os.environ["PATH"] = told["path"]
    _network(told["address"], told["gateway"])
    _own_view(folder)
    Programs(folder, told["programs"]).keep()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
