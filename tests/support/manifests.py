"""Manifests for tests: a valid Ferry as data that tests can break, and functions that write it to a file."""

import base64
from pathlib import Path
from typing import Any

import yaml

from ferry_core.mysql.endpoint import Endpoint

Data = dict[str, Any]


def ferry_data(**spec: Any) -> Data:
    """A minimal Ferry; ``spec`` replaces its sections."""
    return {
        "apiVersion": "mysqlferry.io/v1alpha1",
        "kind": "Ferry",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {
            "source": {"host": "old.example", "credentialsSecretRef": {"name": "orders-source"}},
            "target": {"host": "new.example", "credentialsSecretRef": {"name": "orders-target"}},
            "tables": {"include": ["shop.*"]},
        }
        | spec,
    }


def secret_data(name: str, username: str = "ferry", password: str = "pässword") -> Data:
    """The Secret as stringData."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "shop"},
        "stringData": {"username": username, "password": password},
    }


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def write(folder: Path, *documents: Data, name: str = "ferry.yaml") -> Path:
    """One file of YAML documents."""
    path = folder / name
    path.write_text(yaml.safe_dump_all(documents, allow_unicode=True, sort_keys=False))
    return path


def write_ferry(folder: Path, ferry: Data) -> Path:
    """The Ferry with both of its Secrets."""
    return write(folder, ferry, secret_data("orders-source"), secret_data("orders-target"))


def ferry_between(source: Endpoint, target: Endpoint, **spec: Any) -> tuple[Data, Data, Data]:
    """A Ferry between two servers, and its Secrets."""
    sides = {
        role: {"host": end.host, "port": end.port, "credentialsSecretRef": {"name": f"orders-{role}"}}
        for role, end in (("source", source), ("target", target))
    }
    return (
        ferry_data(**(sides | spec)),
        secret_data("orders-source", source.user, source.password),
        secret_data("orders-target", target.user, target.password),
    )
