"""The operator's settings, from environment variables that the chart sets. Called by ``__main__``."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from ferry_core.api.spec import Template

LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingsError(Exception):
    """An environment variable is missing or invalid; the message names it."""


@dataclass(frozen=True)
class Settings:
    """All from ``FERRY_*`` variables."""

    namespace: str
    """The operator's own, with the Secret that has its CA."""
    image: str
    """For copiers whose spec names none: the operator's own."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces to serve; none: all."""
    max_running: int = 0
    """How many Ferries may run at once; 0: no limit."""
    listen: str = "0.0.0.0"  # noqa: S104 - a Pod's own network
    """Address of metrics and probes."""
    port: int = 8080
    """Port of metrics and probes."""
    copier_listen: str = "0.0.0.0"  # noqa: S104 - as above
    """Address on which copiers listen; [::] in a cluster with IPv6 only."""
    copier_template: Template = field(default_factory=Template)
    """For all copiers, under what the template of a Ferry names."""
    log_level: str = "info"
    """One of ``LOG_LEVELS``."""
    identity_secret: str = "ferry-operator-identity"  # noqa: S105 - a name
    """The Secret with the operator's CA and token key."""
    kubeconfig: str | None = None
    """For an operator that runs outside of the cluster."""

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

        def one_of(name: str, default: str, known: tuple[str, ...]) -> str:
            value = read(name, default) or default
            if value not in known:
                raise SettingsError(f"FERRY_{name}={value}: must be one of {', '.join(known)}")
            return value

        def template(name: str) -> Template:
            try:
                return Template.model_validate_json(read(name, "{}") or "{}")
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"])) or "it"
                raise SettingsError(f"FERRY_{name}: {where}: {first['msg']}") from error

        return cls(
            namespace=read("OPERATOR_NAMESPACE"),
            image=read("IMAGE"),
            watch_namespaces=tuple(name for name in read("WATCH_NAMESPACES", "").replace(",", " ").split() if name),
            max_running=number("MAX_RUNNING", 0, 100_000),
            listen=read("LISTEN", cls.listen),
            port=number("PORT", cls.port, 65535),
            copier_listen=read("COPIER_LISTEN", cls.copier_listen),
            copier_template=template("COPIER_TEMPLATE"),
            log_level=one_of("LOG_LEVEL", cls.log_level, LOG_LEVELS),
            identity_secret=read("IDENTITY_SECRET", cls.identity_secret),
            kubeconfig=environment.get("KUBECONFIG") or None,
        )
