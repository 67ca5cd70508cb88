"""Makes the lock on the source: by the manifest for an attempt, by the lease for undoing one.

A later run may have another ``cutover.sourceLock`` than the attempt that it undoes, so the kind is in the lease.
"""

from collections.abc import Callable, Collection, Mapping

from ferry_core.api.choices import SourceLockMode
from ferry_core.api.cutover import Webhooks
from ferry_core.api.spec import Ferry as FerryManifest
from ferry_core.cutover.source_lock import LOCK_KIND, NoLock, ReadOnlyLock, SourceLock
from ferry_core.cutover.table_lock import LOCK_TABLES, TableLock
from ferry_core.cutover.webhook_lock import WEBHOOK, WebhookCalls, WebhookLock
from ferry_core.mysql.flavor import Flavor
from ferry_core.tables.table import TableName
from ferry_core.workers.connections import Connections


def source_lock(
    ferry: FerryManifest,
    connections: Connections,
    flavor: Flavor,
    uid: str,
    tables: Callable[[], Collection[TableName]],
) -> SourceLock:
    """The lock of an attempt. ``tables`` are those on the source that move."""
    mode = ferry.spec.cutover.source_lock
    if mode is SourceLockMode.NONE:
        return NoLock()
    if mode is SourceLockMode.LOCK_TABLES:
        return TableLock(connections.written_endpoint, tables, uid)
    if mode is SourceLockMode.WEBHOOK:
        return _webhook_lock(ferry, connections, uid)
    return read_only_lock(connections, flavor, uid)


def lock_to_undo(
    stored: Mapping[str, str], ferry: FerryManifest, connections: Connections, flavor: Flavor, uid: str
) -> SourceLock:
    """The lock of the attempt that recorded ``stored``."""
    kind = stored.get(LOCK_KIND)
    if kind == LOCK_TABLES:
        return TableLock(connections.written_endpoint, list, uid)
    if kind == WEBHOOK:
        return _webhook_lock(ferry, connections, uid)
    return read_only_lock(connections, flavor, uid)


def read_only_lock(connections: Connections, flavor: Flavor, uid: str) -> ReadOnlyLock:
    """Also tells whether the server that applications write to is read-only."""
    return ReadOnlyLock(connections.written_endpoint, flavor, uid)


def _webhook_lock(ferry: FerryManifest, connections: Connections, uid: str) -> WebhookLock:
    hooks, meta = ferry.spec.cutover.webhooks or Webhooks(), ferry.metadata
    identity = {"namespace": meta.namespace, "name": meta.name, "uid": uid}
    calls = WebhookCalls(hooks.lock, hooks.unlock, identity, connections.token)
    return WebhookLock(connections.written_endpoint, calls, uid)
