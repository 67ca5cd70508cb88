"""The programs of a node: command line and files of each. The only side effect is writing the files.

Used by ``cluster.py``; ``node.py`` runs the command lines.
"""

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.kube_api import Authority

NODE = "node"
DOMAIN = "cluster.local"
PAUSE_IMAGE = "localhost/pause:1"
_API_PORT = 6443
_DAYS = 3650

# User and groups of each account that logs in with a token.
_ACCOUNTS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "proxy": ("system:kube-proxy", ""),
    "dns": ("admin", "system:masters"),
    "router": ("admin", "system:masters"),
}


@dataclass(frozen=True)
class Network:
    """Addresses of cluster number ``index``, from benchmark and documentation ranges that no real host uses."""

    index: int

    @property
    def gateway(self) -> str:
        """This machine's end of the link. Servers that Pods must reach listen here."""
        return f"198.51.100.{4 * self.index + 1}"

    @property
    def node(self) -> str:
        """The node's end of the link: kube-apiserver and DNS."""
        return f"198.51.100.{4 * self.index + 2}"

    @property
    def pods(self) -> str:
        return f"198.18.{self.index}.0/24"

    @property
    def services(self) -> str:
        return f"198.19.{self.index}.0/24"

    @property
    def link(self) -> str:
        """Name of this machine's end of the link."""
        return f"ferry{self.index}"


@dataclass(frozen=True)
class Node:
    """Files and command lines of one node."""

    folder: Path
    network: Network
    cgroup: str
    kubernetes: Path
    """Folder with the Kubernetes binaries."""
    debian: Path
    """Folder with unpacked Debian packages."""
    etcd: Path
    policies: bool = False
    """Whether NetworkPolicies are enforced."""

    @property
    def socket(self) -> Path:
        """Socket of containerd."""
        return self.folder / "containerd.sock"

    def write(self) -> None:
        """Write everything that the programs and ``node.py`` read."""
        for name in ("log", "pid", "keys", "cni", "var"):
            (self.folder / name).mkdir()
        self._write_keys()
        tables = {
            "cni/10-bridge.conflist": json.dumps(self._cni()),
            "kubelet.yaml": yaml.safe_dump(self._kubelet()),
            "proxy.yaml": yaml.safe_dump(self._proxy()),
            "containerd.toml": self._containerd(),
            "Corefile": self._corefile(),
            "resolv.conf": f"nameserver {self.network.node}\n",
        }
        told = {
            "address": self.network.node,
            "gateway": self.network.gateway,
            "programs": self._programs(),
            # containerd finds its shims there.
            "path": f"{self.debian}/usr/bin:{self.debian}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        tables["node.json"] = json.dumps(told, indent=1)
        for name, text in tables.items():
            (self.folder / name).write_text(text)

    # -- who is who -------------------------------------------------------------------------------------------------

    def _key(self, name: str) -> Path:
        return self.folder / "keys" / name

    def _write_keys(self) -> None:
        authority = Authority("ferry test cluster CA", _DAYS)
        node = self.network.node
        first_service = self.network.services.removesuffix("0/24") + "1"
        signed = {
            "apiserver": authority.sign("kubernetes.default.svc", node, "127.0.0.1", first_service),
            "kubelet": authority.sign(NODE, node, "127.0.0.1"),
            "apiserver-kubelet": authority.sign("kube-apiserver", organization="system:masters"),
            "accounts": authority.sign("service-accounts"),
        }
        for name, pair in signed.items():
            self._key(f"{name}.crt").write_bytes(pair.certificate)
            self._key(f"{name}.key").write_bytes(pair.key)
        self._key("ca.crt").write_bytes(authority.certificate)
        tokens = {name: secrets.token_hex(16) for name in _ACCOUNTS}
        lines = [f'{tokens[name]},{user},{name},"{groups}"' for name, (user, groups) in _ACCOUNTS.items()]
        self._key("tokens.csv").write_text("\n".join(lines))
        for name, token in tokens.items():
            self._key(f"{name}.kubeconfig").write_text(self._kubeconfig(authority, token))

    def _kubeconfig(self, authority: Authority, token: str) -> str:
        ca = base64.b64encode(authority.certificate).decode()
        server = f"https://{self.network.node}:{_API_PORT}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "ferry", "cluster": {"server": server, "certificate-authority-data": ca}}],
            "users": [{"name": "ferry", "user": {"token": token}}],
            "contexts": [{"name": "ferry", "context": {"cluster": "ferry", "user": "ferry"}}],
            "current-context": "ferry",
        }
        return yaml.safe_dump(config)

    # -- files ------------------------------------------------------------------------------------------------------

    def _cni(self) -> dict[str, object]:
        addresses = {"subnet": self.network.pods}
        bridge = {
            "type": "bridge",
            "bridge": "pods",
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "ranges": [[addresses]], "routes": [{"dst": "0.0.0.0/0"}]},
        }
        return {"cniVersion": "0.4.0", "name": "ferry", "plugins": [bridge]}

    def _kubelet(self) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "tlsCertFile": str(self._key("kubelet.crt")),
            "tlsPrivateKeyFile": str(self._key("kubelet.key")),
            "authentication": {
                "anonymous": {"enabled": False},
                "x509": {"clientCAFile": str(self._key("ca.crt"))},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,  # lower values need a capability that root lacks in some sandboxes
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "volumePluginDir": str(self.folder / "var" / "plugins"),
            "resolvConf": str(self.folder / "resolv.conf"),
            "clusterDNS": [self.network.node],
            "clusterDomain": DOMAIN,
            # A developer's disk may be nearly full, which is not the tests' concern.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "syncFrequency": "2s",
            "nodeStatusUpdateFrequency": "2s",
        }

    def _proxy(self) -> dict[str, object]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(self._key("proxy.kubeconfig"))},
            "mode": "iptables",
            "clusterCIDR": self.network.pods,
            "hostnameOverride": NODE,
            "bindAddress": "127.0.0.1",
            "oomScoreAdj": 0,
            "conntrack": {"maxPerCore": 0},
        }

    def _containerd(self) -> str:
        return f"""\
version = 2
root = "{self.folder}/var/containerd"
state = "/run/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{self.folder}/var/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{self.debian}/usr/lib/cni"
    conf_dir = "{self.folder}/cni"
"""

    def _corefile(self) -> str:
        # No upstream: a name that the cluster does not know does not exist.
        return f"""\
{DOMAIN} {{
    bind {self.network.node}
    kubernetes {{
        kubeconfig {self._key("dns.kubeconfig")}
        ttl 1
    }}
}}
. {{
    bind {self.network.node}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""

    # -- command lines ----------------------------------------------------------------------------------------------

    def _programs(self) -> dict[str, list[str]]:
        kubernetes, folder = self.kubernetes, self.folder
        programs = {
            "etcd": self._etcd_line(),
            "kube-apiserver": self._apiserver_line(),
            "containerd": [f"{self.debian}/usr/bin/containerd", f"--config={folder}/containerd.toml"],
            "kube-controller-manager": self._controller_manager_line(),
            "kube-scheduler": [
                f"{kubernetes}/kube-scheduler",
                f"--kubeconfig={self._key('scheduler.kubeconfig')}",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
            ],
            "kubelet": [
                f"{kubernetes}/kubelet",
                f"--config={folder}/kubelet.yaml",
                f"--kubeconfig={self._key('kubelet.kubeconfig')}",
                f"--hostname-override={NODE}",
                f"--node-ip={self.network.node}",
                f"--root-dir={folder}/var/kubelet",
                f"--cert-dir={folder}/var/kubelet-pki",
            ],
            "kube-proxy": [f"{kubernetes}/kube-proxy", f"--config={folder}/proxy.yaml"],
            "coredns": [f"{kubernetes}/coredns", "-conf", f"{folder}/Corefile"],
        }
        if self.policies:
            programs["kube-router"] = self._router_line()
        return programs

    def _etcd_line(self) -> list[str]:
        client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
        return [
            str(self.etcd),
            f"--data-dir={self.folder}/var/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # temporary, so it does not matter what a power cut would lose
            "--logger=zap",
        ]

    def _apiserver_line(self) -> list[str]:
        def key(name: str) -> Path:
            return self._key(name)

        return [
            f"{self.kubernetes}/kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--advertise-address={self.network.node}",
            f"--secure-port={_API_PORT}",
            f"--tls-cert-file={key('apiserver.crt')}",
            f"--tls-private-key-file={key('apiserver.key')}",
            f"--client-ca-file={key('ca.crt')}",
            f"--token-auth-file={key('tokens.csv')}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key('accounts.crt')}",
            f"--service-account-signing-key-file={key('accounts.key')}",
            f"--service-cluster-ip-range={self.network.services}",
            f"--kubelet-client-certificate={key('apiserver-kubelet.crt')}",
            f"--kubelet-client-key={key('apiserver-kubelet.key')}",
            f"--kubelet-certificate-authority={key('ca.crt')}",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def _router_line(self) -> list[str]:
        """Of all that it can do, only NetworkPolicies."""
        return [
            f"{self.kubernetes}/kube-router",
            f"--kubeconfig={self._key('router.kubeconfig')}",
            f"--hostname-override={NODE}",
            "--run-firewall=true",
            "--run-router=false",
            "--run-service-proxy=false",
            "--run-loadbalancer=false",
            "--enable-cni=false",
            f"--service-cluster-ip-range={self.network.services}",
            "--iptables-sync-period=10s",
            "--health-port=0",
        ]

    def _controller_manager_line(self) -> list[str]:
        return [
            f"{self.kubernetes}/kube-controller-manager",
            f"--kubeconfig={self._key('controller-manager.kubeconfig')}",
            f"--service-account-private-key-file={self._key('accounts.key')}",
            f"--root-ca-file={self._key('ca.crt')}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            # A lost node is detected within seconds, because tests wait for it.
            "--node-monitor-period=1s",
            "--node-monitor-grace-period=10s",
        ]
