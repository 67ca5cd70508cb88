"""Stable CamelCase reasons of conditions, failures and bad input. They are API: append, never rename.

Anyone who raises a FerryError or sets a condition may append a line. Plain strings of the same text are equal to them.
"""

from enum import StrEnum


class Condition(StrEnum):
    """Types of status.conditions."""

    SUCCEEDED = "Succeeded"
    VALIDATED = "Validated"
    COPY_COMPLETE = "CopyComplete"
    CAUGHT_UP = "CaughtUp"
    READY_FOR_CUTOVER = "ReadyForCutover"
    CUT_OVER = "CutOver"
    VERIFIED = "Verified"
    PAUSED = "Paused"
    THROTTLED = "Throttled"
    STALLED = "Stalled"
    RECONCILING = "Reconciling"


class Reason(StrEnum):
    # Succeeded
    COMPLETED = "Completed"
    FAILED = "Failed"
    ABORTED = "Aborted"
    IN_PROGRESS = "InProgress"
    # Validated
    PASSED = "Passed"
    MISSING_PRIVILEGE = "MissingPrivilege"
    UNSUPPORTED_TABLE = "UnsupportedTable"
    BINLOG_DISABLED = "BinlogDisabled"
    # CopyComplete
    COPYING = "Copying"
    ALL_TABLES_COPIED = "AllTablesCopied"
    # CaughtUp
    LAG_BELOW_THRESHOLD = "LagBelowThreshold"
    LAG_ABOVE_THRESHOLD = "LagAboveThreshold"
    LAG_UNKNOWN = "LagUnknown"
    # ReadyForCutover
    GATES_PASSED = "GatesPassed"
    VERIFICATION_PENDING = "VerificationPending"
    OUTSIDE_WINDOW = "OutsideWindow"
    # CutOver
    DONE = "Done"
    AWAITING_APPROVAL = "AwaitingApproval"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    ATTEMPTS_EXHAUSTED = "AttemptsExhausted"
    # Verified
    NO_DIFFERENCE = "NoDifference"
    ROWS_DIFFER = "RowsDiffer"
    RUNNING = "Running"
    # Paused, Throttled
    PAUSED_BY_USER = "PausedByUser"
    REPLICA_LAG = "ReplicaLag"
    RATE_LIMIT = "RateLimit"
    # Stalled
    SOURCE_BINLOG_PURGED = "SourceBinlogPurged"
    SCHEMA_CHANGED = "SchemaChanged"
    OWNERSHIP_AMBIGUOUS = "OwnershipAmbiguous"
    SOURCE_WRITTEN_AFTER_CUTOVER = "SourceWrittenAfterCutover"
    # Reconciling
    NEW_GENERATION = "NewGeneration"
    COPIER_STARTING = "CopierStarting"
    # what a manifest, its Secrets and the command line can get wrong
    MANIFEST_UNREADABLE = "ManifestUnreadable"
    MALFORMED_YAML = "MalformedYaml"
    NO_FERRY = "NoFerry"
    SEVERAL_FERRIES = "SeveralFerries"
    UNKNOWN_FIELD = "UnknownField"
    MISSING_FIELD = "MissingField"
    INVALID_FIELD = "InvalidField"
    RULE_VIOLATED = "RuleViolated"
    NOT_BUILT_YET = "NotBuiltYet"
    SECRET_NOT_FOUND = "SecretNotFound"
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"
    SECRET_INVALID = "SecretInvalid"
    TLS_MATERIAL_INVALID = "TlsMaterialInvalid"
    TLS_NOT_OFFERED = "TlsNotOffered"
    TLS_CERTIFICATE_REJECTED = "TlsCertificateRejected"
    USAGE = "Usage"
    TOKEN_UNREADABLE = "TokenUnreadable"
    SERVER_UNREACHABLE = "ServerUnreachable"
    SERVER_REFUSED = "ServerRefused"
    # what preflight finds (docs/preflight.md)
    FAMILIES_DIFFER = "FamiliesDiffer"
    UNSUPPORTED_VERSION = "UnsupportedVersion"
    SOURCE_IS_TARGET = "SourceIsTarget"
    NAME_CASE_DIFFERS = "NameCaseDiffers"
    TARGET_READ_ONLY = "TargetReadOnly"
    CLUSTER_TARGET = "ClusterTarget"
    LOCAL_INFILE_DISABLED = "LocalInfileDisabled"
    SMALL_PACKET = "SmallPacket"
    PRIMARY_KEY_REQUIRED = "PrimaryKeyRequired"
    UNKNOWN_COLLATION = "UnknownCollation"
    SERVER_ID_ZERO = "ServerIdZero"
    BINLOG_FORMAT_NOT_ROW = "BinlogFormatNotRow"
    BINLOG_ROW_IMAGE = "BinlogRowImage"
    BINLOG_COMPRESSED = "BinlogCompressed"
    BINLOG_PARTIAL_JSON = "BinlogPartialJson"
    BINLOG_FILTERED = "BinlogFiltered"
    GTID_MODE_OFF = "GtidModeOff"
    GTID_STRICT_MODE_OFF = "GtidStrictModeOff"
    BINLOG_RETENTION_SHORT = "BinlogRetentionShort"
    REPLICA_CHANGES_NOT_LOGGED = "ReplicaChangesNotLogged"
    SOURCE_IS_REPLICA = "SourceIsReplica"
    SYSTEM_VERSIONED_HISTORY = "SystemVersionedHistory"
    FOREIGN_KEY_CASCADES = "ForeignKeyCascades"
    FOREIGN_KEY_OUTSIDE_SELECTION = "ForeignKeyOutsideSelection"
    TARGET_TABLE_MISSING = "TargetTableMissing"
    TARGET_TABLE_DIFFERS = "TargetTableDiffers"
    TARGET_TRIGGERS = "TargetTriggers"
    TARGET_NOT_EMPTY = "TargetNotEmpty"
    TARGET_OWNED_BY_ANOTHER_FERRY = "TargetOwnedByAnotherFerry"
    ALREADY_CUT_OVER = "AlreadyCutOver"
    SOURCE_READ_ONLY = "SourceReadOnly"
    PRIVILEGED_WRITERS = "PrivilegedWriters"
    EVENTS_ENABLED = "EventsEnabled"
    PREPARED_TRANSACTIONS = "PreparedTransactions"
    ROW_FILTER_INVALID = "RowFilterInvalid"
    ROW_FILTER_NOT_PURE = "RowFilterNotPure"
