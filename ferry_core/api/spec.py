"""The Ferry resource as pydantic models: the one place of its fields, defaults, bounds and rules.

The CRD, the reference page and the manifest's error messages all come from here; a stored default is frozen API.
Called by whoever reads a manifest or acts on one of its parts.
"""

import uuid
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from ferry_core.api.choices import (
    Acknowledgement,
    CheckpointStore,
    CreateTables,
    DeletionPolicy,
    LogLevel,
    OnMismatch,
    OnSchemaChange,
    VerifyMode,
)
from ferry_core.api.cutover import Cutover
from ferry_core.api.durations import Between, Duration, Quantity
from ferry_core.api.model import Model, Rule
from ferry_core.api.selection import Tables
from ferry_core.api.servers import Server

_UID_SPACE = uuid.UUID("5b0b7a86-6d0c-5c1e-9a53-0f6f1c0d7e11")

Free = Annotated[dict[str, JsonValue], Field(max_length=64)]
FreeList = Annotated[list[Free], Field(max_length=64)]


class Schema(Model):
    """Table definitions on the target."""

    create: Annotated[CreateTables, Field(strict=False)] = CreateTables.IF_MISSING
    """IfMissing: tables are created from the source's definition. Never: they must exist."""
    on_change: Annotated[OnSchemaChange, Field(strict=False)] = OnSchemaChange.FAIL
    """What DDL on a selected table does. Fail: the run stops with the statement. Recopy: that table starts again;
    not supported yet.
    """
    defer_indexes: bool = True
    """Create non-unique secondary indexes after a table's rows are in; not supported yet: they come with the table."""


class Copy(Model):
    """Pace and grain of the copy. Mutable while running."""

    workers: Annotated[int, Field(ge=1, le=64)] = 4
    """How many chunks are copied at a time."""
    chunk_target_duration: Annotated[Duration, Between(Duration("10ms"), Duration("1m"))] = Duration("500ms")
    """How long one chunk should take; its size follows, down to 100 rows. A short one slows the copy down: each chunk
    has statements of its own.
    """
    chunk_target_bytes: Annotated[Quantity, Between(Quantity("64Ki"), Quantity("256Mi"))] = Quantity("8Mi")
    """How many bytes one chunk should hold at most."""


class ThreadsRunning(Model):
    """Limits of Threads_running, per server."""

    source: Annotated[int, Field(ge=1, le=100000)] | None = None
    """Limit on the source."""
    target: Annotated[int, Field(ge=1, le=100000)] | None = None
    """Limit on the target."""


class Throttle(Model):
    """Signals that slow the data movement down; an absent field means that signal is off. Mutable while running."""

    max_rows_per_second: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Cap of rows copied a second."""
    max_replica_lag: Annotated[Duration, Between(Duration("100ms"), Duration("24h"))] | None = None
    """Throttled while a replica is further behind; one that cannot be observed throttles too. Not supported yet."""
    max_threads_running: ThreadsRunning | None = None
    """Throttled while a server runs more threads than this. Not supported yet."""
    max_commit_latency: Annotated[Duration, Between(Duration("1ms"), Duration("1m"))] | None = None
    """Throttled while the target's commits take longer. Not supported yet."""
    query: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """Asked on the source; throttled while it returns true, NULL or an error. Not supported yet."""
    active_hours: (
        Annotated[
            str,
            Field(
                max_length=64, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9] [A-Za-z0-9_+/-]+$"
            ),
        ]
        | None
    ) = None
    """Rows move only in these hours, for example "20:00-06:00 Europe/Berlin". Not supported yet."""


class Verify(Model):
    """How equality of source and target is proven."""

    mode: Annotated[VerifyMode, Field(strict=False)] = VerifyMode.CONTINUOUS
    """Continuous: passes keep going; not supported yet: done as Final. Final: one full pass before the cutover lock.
    None: cut over without a verdict; needs acknowledge: [Unverified].
    """
    on_mismatch: Annotated[OnMismatch, Field(strict=False)] = OnMismatch.REPAIR
    """What happens when rows differ. Fail: the run stops and names the keys. Repair: the rows are copied again and
    checked again; not supported yet: done as Fail.
    """


class Checkpoint(Model):
    """Where progress is kept."""

    store: Annotated[CheckpointStore, Field(strict=False)] = CheckpointStore.TARGET
    """Target: a table on the target, the default in a cluster. Volume: an SQLite file on the claim. `ferry run` keeps
    a file (--state) unless the manifest says Target.
    """
    claim_name: Annotated[str, Field(max_length=253)] = ""
    """PersistentVolumeClaim for store Volume."""

    RULES = (
        Rule(
            "self.store != 'Volume' || self.claimName != ''",
            "store Volume needs claimName: name a PersistentVolumeClaim of the Ferry's namespace",
            lambda checkpoint: checkpoint.store is not CheckpointStore.VOLUME or checkpoint.claim_name != "",
        ),
    )


class TemplateMetadata(Model):
    """What is taken over of a Pod's metadata; its name and all else are the operator's."""

    labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)] = {}
    """More labels; those by which the operator finds its Pods stand."""
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=32768)]], Field(max_length=64)] = {}
    """More annotations; the operator's own stand."""


class Template(Model):
    """What is merged into the copier's Pod."""

    metadata: TemplateMetadata = TemplateMetadata()
    """Labels and annotations."""
    resources: Free = {}
    """Requests and limits of the copier's container."""
    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)] = {}
    """Labels of the nodes that it may run on."""
    affinity: Free = {}
    """Scheduling affinity."""
    tolerations: FreeList = []
    """Taints that it tolerates."""
    topology_spread_constraints: FreeList = []
    """How copiers spread over the cluster."""
    env: FreeList = []
    """More environment variables."""
    volumes: FreeList = []
    """More volumes."""
    volume_mounts: FreeList = []
    """Where they are mounted in the copier's container."""
    image_pull_secrets: FreeList = []
    """Secrets for pulling the image."""
    service_account_name: Annotated[str, Field(max_length=253)] = ""
    """ServiceAccount; its token is not mounted, unless `volumes` asks for it."""
    priority_class_name: Annotated[str, Field(max_length=253)] = ""
    """PriorityClass of the Pod."""
    pod_security_context: Free = {}
    """Merged over the restricted defaults."""


class Copier(Model):
    """The copier's Pod; in a cluster only, but for logLevel."""

    image: Annotated[str, Field(max_length=1024)] = ""
    """Image to run; empty: the operator's own."""
    log_level: Annotated[LogLevel, Field(strict=False)] = LogLevel.INFO
    """How much the copier logs."""
    template: Template = Template()
    """What is merged into its Pod."""


def _servers_differ(spec: "Spec") -> bool:
    same = (spec.source.host, spec.source.port) == (spec.target.host, spec.target.port)
    return not same or bool(spec.tables.rename_schemas) or any(rule.target is not None for rule in spec.tables.rules)


def _unverified_is_acknowledged(spec: "Spec") -> bool:
    return spec.verify.mode is not VerifyMode.NONE or Acknowledgement.UNVERIFIED in spec.acknowledge


class Spec(Model):
    """What to move, from where to where, and how."""

    RULES = (
        Rule(
            "self.source.host != self.target.host || self.source.port != self.target.port || "
            "(has(self.tables.renameSchemas) && self.tables.renameSchemas.size() > 0) || "
            "(has(self.tables.rules) && self.tables.rules.exists(r, has(r.target)))",
            "source and target are the same server: rename with tables.renameSchemas or a rule's target, "
            "or correct source or target",
            _servers_differ,
        ),
        Rule(
            "self.verify.mode != 'None' || self.acknowledge.exists(a, a == 'Unverified')",
            "verify.mode None cuts over without comparing any row: accept that with acknowledge: [Unverified]",
            _unverified_is_acknowledged,
        ),
    )

    source: Server
    """Where the rows are; writes go on there until the cutover."""
    target: Server
    """Where they go."""
    tables: Tables
    """Which tables move and what they are called on the target."""
    schema_: Annotated[Schema, Field(alias="schema")] = Schema()
    """Table definitions on the target."""
    copy_: Annotated[Copy, Field(alias="copy")] = Copy()
    """Pace and grain of the copy."""
    throttle: Throttle = Throttle()
    """What slows the data movement down."""
    paused: bool = False
    """Stops data movement; progress is kept. Leave it out of manifests kept in Git."""
    verify: Verify = Verify()
    """How equality is proven."""
    cutover: Cutover = Cutover()
    """When and how writes move to the target."""
    acknowledge: Annotated[list[Annotated[Acknowledgement, Field(strict=False)]], Field(max_length=32)] = []
    """What preflight refuses unless it is named here."""
    aborted: bool = False
    """Stop for good, keep the target; cannot be taken back. Leave it out of manifests kept in Git."""
    deletion_policy: Annotated[DeletionPolicy, Field(strict=False)] = DeletionPolicy.RETAIN
    """Retain: deleting the Ferry keeps the target's tables. DropTarget: before the cutover it drops those that the
    Ferry has filled, and that neither another Ferry nor a foreign key from elsewhere claims.
    """
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=2147483647)] | None = None
    """Delete the Ferry this long after it finished, unless it is Stalled; no default."""
    checkpoint: Checkpoint = Checkpoint()
    """Where progress is kept."""
    copier: Copier = Copier()
    """The copier's Pod."""


class Metadata(Model):
    """The part of Kubernetes' ObjectMeta that a manifest or ``kubectl get -o yaml`` holds."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
    """The Ferry's name."""
    namespace: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = (
        "default"
    )
    """Its namespace."""
    uid: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Given by kube-apiserver."""
    generation: int = 1
    """Given by kube-apiserver; counts changes of the spec."""
    labels: dict[str, str] = {}
    """Free labels."""
    annotations: dict[str, str] = {}
    """Free annotations."""
    creation_timestamp: str | None = None
    """Given by kube-apiserver."""
    deletion_timestamp: str | None = None
    """Given by kube-apiserver."""
    deletion_grace_period_seconds: int | None = None
    """Given by kube-apiserver."""
    resource_version: str | None = None
    """Given by kube-apiserver."""
    self_link: str | None = None
    """Of old."""
    generate_name: str | None = None
    """Not used."""
    finalizers: list[str] = []
    """Kept by the operator."""
    owner_references: list[dict[str, JsonValue]] = []
    """Kept by whoever owns it."""
    managed_fields: list[dict[str, JsonValue]] = []
    """Kept by kube-apiserver."""


class Ferry(Model):
    """One move of selected tables from a source to a target."""

    RULES = (
        Rule(
            "self.metadata.name.size() <= 52",
            "metadata.name may have at most 52 characters: the names of the copier's objects contain it",
            lambda ferry: len(ferry.metadata.name) <= 52,
            field_path=".metadata",  # the name has no schema of its own for a path to end at
        ),
    )

    api_version: Literal["mysqlferry.io/v1alpha1"]
    """Version of this resource."""
    kind: Literal["Ferry"]
    """Kind of this resource."""
    metadata: Metadata
    """Name and namespace."""
    spec: Spec
    """What to move, from where to where, and how."""
    status: JsonValue = None
    """Written by the operator; not read from a manifest."""


def ferry_uid(ferry: Ferry) -> str:
    """What the target's lease row is held by: the cluster's uid, or one made of namespace and name."""
    meta = ferry.metadata
    return meta.uid or str(uuid.uuid5(_UID_SPACE, f"{meta.namespace}/{meta.name}"))
