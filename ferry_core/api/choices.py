"""Allowed values of the spec's enumerated fields. Used by ``spec`` and by code that branches on such a field."""

from enum import StrEnum


class TlsMode(StrEnum):
    DISABLED = "Disabled"
    PREFERRED = "Preferred"
    REQUIRED = "Required"
    VERIFY_CA = "VerifyCA"
    VERIFY_IDENTITY = "VerifyIdentity"


class CreateTables(StrEnum):
    IF_MISSING = "IfMissing"
    NEVER = "Never"


class TableEngine(StrEnum):
    KEEP = "Keep"
    INNODB = "InnoDB"


class ForeignKeys(StrEnum):
    ALL = "All"
    SELECTED = "Selected"


class OnSchemaChange(StrEnum):
    FAIL = "Fail"
    RECOPY = "Recopy"


class OnNewTable(StrEnum):
    IGNORE = "Ignore"
    COPY = "Copy"
    FAIL = "Fail"


class OtherObjects(StrEnum):
    REPORT = "Report"
    CREATE = "Create"


class Definer(StrEnum):
    KEEP = "Keep"
    CURRENT_USER = "CurrentUser"


class VerifyMode(StrEnum):
    CONTINUOUS = "Continuous"
    FINAL = "Final"
    NONE = "None"


class OnMismatch(StrEnum):
    FAIL = "Fail"
    REPAIR = "Repair"


class CutoverMode(StrEnum):
    MANUAL = "Manual"
    AUTOMATIC = "Automatic"
    SCHEDULED = "Scheduled"


class SourceLockMode(StrEnum):
    READ_ONLY = "ReadOnly"
    LOCK_TABLES = "LockTables"
    WEBHOOK = "Webhook"
    NONE = "None"


class NotificationEvent(StrEnum):
    """Kinds of notifications. Append only."""

    STAGE_CHANGED = "StageChanged"
    ATTEMPT = "Attempt"
    ERROR = "Error"
    PROGRESS = "Progress"


class DeletionPolicy(StrEnum):
    RETAIN = "Retain"
    DROP_TARGET = "DropTarget"


class CheckpointStore(StrEnum):
    TARGET = "Target"
    VOLUME = "Volume"


class LogLevel(StrEnum):
    DEBUG = "Debug"
    INFO = "Info"
    WARNING = "Warning"
    ERROR = "Error"


class Acknowledgement(StrEnum):
    """Risks that preflight refuses unless ``spec.acknowledge`` names them.

    Append only: a stored object must stay valid.
    """

    UNVERIFIED = "Unverified"  # verify.mode None: cut over without verification
    JSON_PRECISION = "JsonPrecision"  # rows whose JSON changes when it is parsed again
    TARGET_TRIGGERS = "TargetTriggers"  # triggers on target tables fire for copied rows
    SYSTEM_VERSIONED_HISTORY = "SystemVersionedHistory"  # the history of system-versioned tables is not moved
    PRIVILEGED_WRITERS = "PrivilegedWriters"  # accounts that can write in spite of read_only
    SOURCE_IS_REPLICA = "SourceIsReplica"  # the source replicates from another server
    GENERATED_VALUES = "GeneratedValues"  # stored generated columns may hold other values on the target
    ERRANT_TRANSACTIONS = "ErrantTransactions"  # a source that is a replica holds transactions that its primary lacks
    BINLOG_FORMAT = "BinlogFormatNotRow"  # the source logs most changes as statements (MIXED)
