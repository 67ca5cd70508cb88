"""Specs of Ferries: one with every field, and the smallest."""

from typing import Any

Manifest = dict[str, Any]

EXAMPLE: Manifest = {
    "source": {
        "host": "orders-old.db",
        "port": 3306,
        "credentialsSecretRef": {"name": "orders-source"},
        "tls": {"mode": "VerifyIdentity", "secretRef": {"name": "orders-source-tls"}},
        "replicas": [
            {
                "host": "orders-old-r1.db",
                "port": 3306,
                "credentialsSecretRef": {
                    "name": "orders-replica",
                    "usernameKey": "user",
                    "passwordKey": "secret",
                },
                "tls": {"mode": "Required"},
            }
        ],
    },
    "target": {
        "host": "orders-new.db",
        "port": 3306,
        "credentialsSecretRef": {"name": "orders-target"},
        "tls": {"mode": "Preferred"},
    },
    "tables": {
        "include": ["shop.*"],
        "exclude": ["shop.tmp_*"],
        "renameSchemas": {"shop": "shop_v2"},
        "rules": [{"match": "shop.orders", "where": "tenant_id = 42", "target": "shop_42.orders"}],
    },
    "schema": {
        "create": "IfMissing",
        "onChange": "Fail",
        "onNewTable": "Ignore",
        "engine": "InnoDB",
        "foreignKeys": "Selected",
        "deferIndexes": True,
        "objects": {
            "views": "Create",
            "routines": "Report",
            "triggers": "Report",
            "sequences": "Create",
            "events": "Report",
            "definer": "Keep",
        },
    },
    "copy": {"workers": 4, "chunkTargetDuration": "500ms", "chunkTargetBytes": "8Mi"},
    "throttle": {
        "maxRowsPerSecond": 20000,
        "maxReplicaLag": "5s",
        "maxThreadsRunning": {"source": 40, "target": 60},
        "maxCommitLatency": "200ms",
        "query": "SELECT busy FROM ops.gate",
        "activeHours": "20:00-06:00 Europe/Berlin",
    },
    "paused": False,
    "verify": {"mode": "Continuous", "onMismatch": "Repair"},
    "cutover": {
        "mode": "Manual",
        "approved": False,
        "notBefore": "2026-12-01T02:00:00Z",
        "notAfter": "2026-12-01T04:00:00Z",
        "maxLag": "1s",
        "sourceLock": "ReadOnly",
        "webhooks": {
            "lock": {
                "url": "https://gate.ops/lock",
                "tokenSecretRef": {"name": "gate"},
                "timeout": "5s",
                "retries": 3,
            },
            "unlock": {"url": "https://gate.ops/unlock"},
        },
        "deadline": "10s",
        "maxAttempts": 5,
        "watchFor": "60s",
    },
    "notifications": [{"url": "https://night.ops/ferry", "events": ["Error"], "tokenSecretRef": {"name": "night"}}],
    "acknowledge": ["TargetTriggers", "JsonPrecision"],
    "aborted": False,
    "deletionPolicy": "Retain",
    "ttlSecondsAfterFinished": 3600,
    "checkpoint": {"store": "Target", "claimName": ""},
    "copier": {
        "image": "",
        "logLevel": "Info",
        "template": {
            "metadata": {"labels": {"team": "shop"}},
            "resources": {"requests": {"cpu": "1", "memory": "256Mi"}},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "spot", "operator": "Exists"}],
            "env": [{"name": "TZ", "value": "UTC"}],
        },
    },
}

SMALL: Manifest = {
    "source": {"host": "old.db", "credentialsSecretRef": {"name": "old"}},
    "target": {"host": "new.db", "credentialsSecretRef": {"name": "new"}},
    "tables": {"include": ["shop.*"]},
}
