"""The Ferry resource as pydantic models: its fields, defaults, bounds and rules are defined only here.

The CRD, the reference page and the messages about manifests are generated from these models. A default is part of the
API and cannot change. Used by every reader of a manifest.
"""

import uuid
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue

from ferry_core.api.choices import (
    Acknowledgement,
    CheckpointStore,
    CreateTables,
    Definer,
    DeletionPolicy,
    ForeignKeys,
    LogLevel,
    OnMismatch,
    OnNewTable,
    OnSchemaChange,
    OtherObjects,
    SourceLockMode,
    TableEngine,
    VerifyMode,
)
from ferry_core.api.cutover import Cutover, TokenRef
from ferry_core.api.durations import Between, Duration, Quantity
from ferry_core.api.model import Model, Rule
from ferry_core.api.notification import Notification
from ferry_core.api.selection import Tables
from ferry_core.api.servers import Server, Source
from ferry_core.api.time_zones import in_a_known_zone

_UID_SPACE = uuid.UUID("5b0b7a86-6d0c-5c1e-9a53-0f6f1c0d7e11")

Generation = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
Free = Annotated[dict[str, JsonValue], Field(max_length=64)]
FreeList = Annotated[list[Free], Field(max_length=64)]


Handling = Annotated[OtherObjects, Field(strict=False)]


class Objects(Model):
    """What the schemas of the selected tables hold beside tables. Report: preflight lists it. Create: it is created on
    the target from the source's definition, all of it that `tables.exclude` does not name.
    """

    views: Handling = OtherObjects.REPORT
    """Views; created once the rows are copied, and brought up to date before each cutover attempt."""
    routines: Handling = OtherObjects.REPORT
    """Stored procedures and functions, and packages of MariaDB; created before the views."""
    triggers: Handling = OtherObjects.REPORT
    """Triggers of the selected tables; created when the cutover is recorded, so that none fires for a copied row."""
    events: Handling = OtherObjects.REPORT
    """Scheduled events; created disabled, and given the source's status when the cutover is recorded."""
    sequences: Handling = OtherObjects.REPORT
    """Sequences of MariaDB; created before the tables, whose defaults may name them."""
    definer: Annotated[Definer, Field(strict=False)] = Definer.KEEP
    """Keep: each has the definer that it has on the source. CurrentUser: the target's account is the definer."""


class Schema(Model):
    """Table definitions on the target."""

    create: Annotated[CreateTables, Field(strict=False)] = CreateTables.IF_MISSING
    """IfMissing: tables are created from the source's definition. Never: they must exist."""
    engine: Annotated[TableEngine, Field(strict=False)] = TableEngine.KEEP
    """Engine of tables that are created for MyISAM and Aria tables. Keep: the same. InnoDB: they become InnoDB."""
    foreign_keys: Annotated[ForeignKeys, Field(strict=False)] = ForeignKeys.ALL
    """Which foreign keys the created tables get. All: those of the source; one to a table that is not selected is
    refused. Selected: only those to selected tables.
    """
    on_change: Annotated[OnSchemaChange, Field(strict=False)] = OnSchemaChange.FAIL
    """What happens when DDL changes a selected table.

    Fail: the run stops and names the statement. Recopy: that table is copied again with its new definition.
    """
    on_new_table: Annotated[OnNewTable, Field(strict=False)] = OnNewTable.IGNORE
    """What happens with a table that matches the selection and is created after the start.

    Ignore: it is reported, and not moved. Copy: it is moved too. Fail: the run stops and names it.
    """
    defer_indexes: bool = True
    """For tables with 10,000 rows or more (by the source's statistics): create secondary indexes that are not UNIQUE
    after the rows, in one ALTER TABLE.
    """
    objects: Objects = Objects()
    """Views, routines, triggers, events and sequences."""

    @property
    def copies_again(self) -> bool:
        """Whether tables whose definition changes are copied again."""
        return self.on_change is OnSchemaChange.RECOPY


class Copy(Model):
    """Parallelism and chunk size of the copy. Can be changed while running."""

    workers: Annotated[int, Field(ge=1, le=64)] = 4
    """How many chunks are copied in parallel, and how many tables get deferred indexes at once."""
    chunk_target_duration: Annotated[Duration, Between(Duration("10ms"), Duration("1m"))] = Duration("500ms")
    """How long one chunk should take. The chunk size adapts to it, down to 100 rows. A short duration slows the copy
    down, because each chunk has a fixed cost.
    """
    chunk_target_bytes: Annotated[Quantity, Between(Quantity("64Ki"), Quantity("256Mi"))] = Quantity("8Mi")
    """Maximum size of one chunk in bytes, approximately."""


class ThreadsRunning(Model):
    """Limits of the status variable Threads_running, per server. The run's own threads count too."""

    source: Annotated[int, Field(ge=1, le=100000)] | None = None
    """Limit on the source."""
    target: Annotated[int, Field(ge=1, le=100000)] | None = None
    """Limit on the target."""


class Throttle(Model):
    """Limits that slow data movement down; an absent field disables that limit. Can be changed while running."""

    max_rows_per_second: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Maximum number of rows copied per second. Changed rows that follow the copy do not count."""
    max_replica_lag: Annotated[Duration, Between(Duration("100ms"), Duration("24h"))] | None = None
    """Throttle while a replica in source.replicas or target.replicas lags more than this, or its lag is unknown."""
    max_threads_running: ThreadsRunning | None = None
    """Throttle while a server has more running threads than this."""
    max_commit_latency: Annotated[Duration, Between(Duration("1ms"), Duration("1m"))] | None = None
    """Throttle while a small commit on the target takes longer than this. From half of it on, the copy uses fewer
    workers and smaller chunks.
    """
    query: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """A query that the source runs each second; throttle while it returns a number other than 0, NULL or an error."""
    active_hours: (
        Annotated[
            str,
            Field(
                max_length=64, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9] [A-Za-z0-9_+/-]+$"
            ),
            AfterValidator(in_a_known_zone),
        ]
        | None
    ) = None
    """Rows are moved only during these hours, for example "20:00-06:00 Europe/Berlin"."""


class Verify(Model):
    """How source and target are compared."""

    mode: Annotated[VerifyMode, Field(strict=False)] = VerifyMode.CONTINUOUS
    """Continuous: all rows are compared again and again until the cutover, a fifth of the time. Final: one full pass
    before the cutover. None: cut over without verification; needs acknowledge: [Unverified].
    """
    on_mismatch: Annotated[OnMismatch, Field(strict=False)] = OnMismatch.REPAIR
    """What happens when rows differ. Fail: the run stops and says how many rows of which tables differ. Repair: the
    rows are copied and compared again; a row that differs once more after two repairs stops the run.
    """


class Checkpoint(Model):
    """Where progress is kept."""

    store: Annotated[CheckpointStore, Field(strict=False)] = CheckpointStore.TARGET
    """Target: a table on the target, the default in a cluster. Volume: an SQLite file on the claim. `ferry run` uses a
    file (--state) unless the manifest says Target.
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
    """Metadata to add to the Pod. The operator sets its name and everything else."""

    labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)] = {}
    """Additional labels. They cannot replace the labels by which the operator finds its Pods."""
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=32768)]], Field(max_length=64)] = {}
    """Additional annotations. They cannot replace the operator's own."""


class Template(Model):
    """Settings to merge into the copier's Pod."""

    metadata: TemplateMetadata = TemplateMetadata()
    """Labels and annotations."""
    resources: Free = {}
    """Requests and limits of the copier's container."""
    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)] = {}
    """Labels that a node must have to run it."""
    affinity: Free = {}
    """Scheduling affinity."""
    tolerations: FreeList = []
    """Taints that it tolerates."""
    topology_spread_constraints: FreeList = []
    """How copiers spread over the cluster."""
    env: FreeList = []
    """Additional environment variables."""
    volumes: FreeList = []
    """Additional volumes."""
    volume_mounts: FreeList = []
    """Where to mount them in the copier's container."""
    image_pull_secrets: FreeList = []
    """Secrets for pulling the image."""
    service_account_name: Annotated[str, Field(max_length=253)] = ""
    """ServiceAccount. Its token is not mounted, unless `volumes` requests it."""
    priority_class_name: Annotated[str, Field(max_length=253)] = ""
    """PriorityClass of the Pod."""
    pod_security_context: Free = {}
    """Merged over the restricted defaults."""


class Copier(Model):
    """The copier's Pod. Outside a cluster only logLevel is used."""

    image: Annotated[str, Field(max_length=1024)] = ""
    """Image to run; empty means the operator's own image."""
    log_level: Annotated[LogLevel, Field(strict=False)] = LogLevel.INFO
    """Minimum level of the copier's log lines."""
    template: Template = Template()
    """Settings to merge into its Pod."""


def _servers_differ(spec: "Spec") -> bool:
    same = spec.source.address == spec.target.address
    return not same or bool(spec.tables.rename_schemas) or any(rule.target is not None for rule in spec.tables.rules)


def _unverified_is_acknowledged(spec: "Spec") -> bool:
    return spec.verify.mode is not VerifyMode.NONE or Acknowledgement.UNVERIFIED in spec.acknowledge


def _events_are_not_a_replicas(spec: "Spec") -> bool:
    return spec.source.primary is None or spec.schema_.objects.events is not OtherObjects.CREATE


def _a_primary_is_locked_whole(spec: "Spec") -> bool:
    return spec.source.primary is None or spec.cutover.source_lock is SourceLockMode.READ_ONLY


class Spec(Model):
    """What to move, from where to where, and how."""

    RULES = (
        Rule(
            "!has(self.source.host) || !has(self.target.host) || "
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
        Rule(
            "!has(self.source.primary) || self.schema.objects.events != 'Create'",
            "a replica shows every event as disabled: with source.primary set schema.objects.events to Report, and "
            "create the events yourself",
            _events_are_not_a_replicas,
        ),
        Rule(
            "!has(self.source.primary) || self.cutover.sourceLock == 'ReadOnly'",
            "with source.primary cutover.sourceLock must be ReadOnly: only that waits for commits that are in progress "
            "on the primary",
            _a_primary_is_locked_whole,
        ),
    )

    source: Source
    """The server that holds the rows. Applications write to it, or to its primary, until the cutover."""
    target: Server
    """The server that receives the rows."""
    tables: Tables
    """Which tables move and what they are called on the target."""
    schema_: Annotated[Schema, Field(alias="schema")] = Schema()
    """Table definitions on the target."""
    copy_: Annotated[Copy, Field(alias="copy")] = Copy()
    """Parallelism and chunk size of the copy."""
    throttle: Throttle = Throttle()
    """Limits that slow data movement down."""
    paused: bool = False
    """Stop data movement and keep the progress. Leave it out of manifests kept in Git."""
    verify: Verify = Verify()
    """How source and target are compared."""
    cutover: Cutover = Cutover()
    """When and how writes move to the target."""
    acknowledge: Annotated[list[Annotated[Acknowledgement, Field(strict=False)]], Field(max_length=32)] = []
    """Risks that preflight refuses unless they are named here."""
    aborted: bool = False
    """Stop permanently and keep the target. Cannot be undone. Leave it out of manifests kept in Git."""
    notifications: Annotated[list[Notification], Field(max_length=8)] = []
    """Addresses that are told what happens."""
    deletion_policy: Annotated[DeletionPolicy, Field(strict=False)] = DeletionPolicy.RETAIN
    """Retain: deleting the Ferry keeps the target's tables. DropTarget: deleting it before the cutover drops the tables
    that this Ferry filled, except those that another Ferry claims or that a foreign key of another table references.
    """
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=2147483647)] | None = None
    """Delete the Ferry this long after it finished, unless it is Stalled; no default."""
    checkpoint: Checkpoint = Checkpoint()
    """Where progress is kept."""
    copier: Copier = Copier()
    """The copier's Pod."""


def token_refs(spec: Spec) -> list[TokenRef]:
    """The Secrets with bearer tokens that a run reads."""
    hooks = spec.cutover.webhooks
    called = [*((hooks.lock, hooks.unlock) if hooks is not None else ()), *spec.notifications]
    return [hook.token_secret_ref for hook in called if hook is not None and hook.token_secret_ref is not None]


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
    generation: Generation = 1
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
    """Obsolete."""
    generate_name: str | None = None
    """Not used."""
    finalizers: list[str] = []
    """Managed by the operator."""
    owner_references: list[dict[str, JsonValue]] = []
    """Managed by the owners."""
    managed_fields: list[dict[str, JsonValue]] = []
    """Managed by kube-apiserver."""


class Ferry(Model):
    """One move of selected tables from a source to a target."""

    RULES = (
        Rule(
            "self.metadata.name.size() <= 52",
            "metadata.name may have at most 52 characters: the names of the copier's objects contain it",
            lambda ferry: len(ferry.metadata.name) <= 52,
            field_path=".metadata",  # the name has no schema of its own that a path could end at
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
    """Key of this Ferry's lease row on the target: the uid from the cluster, or one made from namespace and name."""
    meta = ferry.metadata
    return meta.uid or str(uuid.uuid5(_UID_SPACE, f"{meta.namespace}/{meta.name}"))
