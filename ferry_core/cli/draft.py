"""The commented manifest that ``ferry init`` writes. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

_TLS = "# tls: {mode: VerifyIdentity, secretRef: {name: ...}}    # default Preferred: encrypted, but not verified"


@dataclass(frozen=True)
class Login:
    """A server, and the account that the Ferry will use there."""

    host: str
    port: int
    user: str
    password: str
    socket: str | None = None
    """Used instead of host and port."""


@dataclass(frozen=True)
class Draft:
    """What the user has chosen."""

    name: str
    namespace: str
    source: Login
    target: Login
    include: Sequence[str]
    exclude: Sequence[str] = ()


def text_of(draft: Draft, refused: Sequence[tuple[str, str]] = ()) -> str:
    """``refused``: a pattern for each table that cannot be moved, and why."""
    name = draft.name
    return f"""\
# Made by ferry init. Each field is explained in docs/reference.md.
#   ferry check -f FILE     finds what would fail, and moves nothing
#   ferry run -f FILE       moves the tables; ferry cutover, in another terminal, approves the cutover
# The passwords below are in clear text: keep this file out of Git. In a cluster apply the Secrets separately.
apiVersion: mysqlferry.io/v1alpha1
kind: Ferry
metadata:
  name: {_quoted(name)}
  namespace: {_quoted(draft.namespace)}
spec:
  source:
{_place(draft.source)}
    credentialsSecretRef: {{name: {_quoted(f"{name}-source")}}}{_tls(draft.source)}
  target:
{_place(draft.target)}
    credentialsSecretRef: {{name: {_quoted(f"{name}-target")}}}
  tables:
    include:                        # patterns schema.table; * stands for any text
{_listed(draft.include)}
    exclude:{_excluded(draft.exclude, refused)}
    # renameSchemas: {{shop: shop_v2}}
    # tenant: {{column: tenant_id, values: ["42"]}}    # only these rows, of each table with that column
    # rules: [{{match: shop.orders, where: "tenant_id = 42"}}]   # only these rows of one table
  # throttle: {{maxRowsPerSecond: 20000}}    # can be changed while it runs: ferry throttle
  cutover:
    mode: Manual                    # Manual waits for ferry cutover; Automatic cuts over once every gate is passed
    deadline: 10s                   # how long an attempt may block writes; then they are allowed again
    # notBefore: "2026-12-01T02:00:00+01:00"    # with mode Scheduled: like Automatic, but not earlier
    # sourceLock: None              # if you stop the writes on the source yourself
    # sourceLock: Webhook           # if calls of your own stop them: docs/webhooks.md
---
apiVersion: v1
kind: Secret
metadata:
  name: {_quoted(f"{name}-source")}
  namespace: {_quoted(draft.namespace)}
stringData: {{username: {_quoted(draft.source.user)}, password: {_quoted(draft.source.password)}}}
---
apiVersion: v1
kind: Secret
metadata:
  name: {_quoted(f"{name}-target")}
  namespace: {_quoted(draft.namespace)}
stringData: {{username: {_quoted(draft.target.user)}, password: {_quoted(draft.target.password)}}}
"""


def _place(login: Login) -> str:
    if login.socket is not None:
        return f"    socket: {_quoted(login.socket)}"
    return f"    host: {_quoted(login.host)}\n    port: {login.port}"


def _tls(login: Login) -> str:
    if login.socket is not None:
        return ""
    return f"\n    {_TLS}"


def _listed(patterns: Sequence[str]) -> str:
    return "\n".join(f"      - {_quoted(pattern)}" for pattern in patterns)


def _excluded(patterns: Sequence[str], refused: Sequence[tuple[str, str]]) -> str:
    commented = [f"      # - {_quoted(pattern)}  # refused: {why}" for pattern, why in refused]
    if not patterns:
        return "\n".join([" []", *commented])
    return "\n" + "\n".join([_listed(patterns), *commented])


def _quoted(text: str) -> str:
    """As a string of YAML, whatever it contains."""
    return json.dumps(text, ensure_ascii=False)
