"""What the operator is told by its environment, which the chart sets. Called by ``app``; passed to who needs a part."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


class SettingsError(Exception):
    """An environment variable that cannot be used; the message names it."""


@dataclass(frozen=True)
class Settings:
    """All from ``FERRY_*`` variables."""

    namespace: str
    """Where the operator itself lives, and the Secret with its CA."""
    image: str
    """Of copiers that name none: the operator's own."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces to serve; none: all of them."""
    max_running: int = 0
    """How many Ferries may run at once; 0: no limit."""
    listen: str = "0.0.0.0"  # noqa: S104 - a Pod's own network
    """Where metrics and probes are served."""
    port: int = 8080
    """The same."""
    copier_listen: str = "0.0.0.0"  # noqa: S104 - as above
    """Where copiers listen; [::] in a cluster of IPv6 alone."""
    identity_secret: str = "ferry-operator-identity"  # noqa: S105 - a name
    """The Secret with the operator's CA and token key."""
    kubeconfig: str | None = None
    """Outside of a cluster: how to reach one."""

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        def read(name: str, default: str | None = None) -> str:
            value = environment.get(f"FERRY_{name}", default)
            if not value and default is None:
                raise SettingsError(f"the environment variable FERRY_{name} is missing: the chart sets it")
            return value or ""

        def number(name: str, default: int, most: int) -> int:
            text = read(name, str(default)) or str(default)
            if not text.isascii() or not text.isdigit() or int(text) > most:
                raise SettingsError(f"FERRY_{name}={text}: must be a whole number from 0 to {most}")
            return int(text)

        return cls(
            namespace=read("OPERATOR_NAMESPACE"),
            image=read("IMAGE"),
            watch_namespaces=tuple(name for name in read("WATCH_NAMESPACES", "").replace(",", " ").split() if name),
            max_running=number("MAX_RUNNING", 0, 100_000),
            listen=read("LISTEN", cls.listen),
            port=number("PORT", cls.port, 65535),
            copier_listen=read("COPIER_LISTEN", cls.copier_listen),
            identity_secret=read("IDENTITY_SECRET", cls.identity_secret),
            kubeconfig=environment.get("KUBECONFIG") or None,
        )
