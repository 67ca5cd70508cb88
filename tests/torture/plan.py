"""What one round does, made from its seed alone: tables, application, flags, spec, and faults in their order.

A plan is plain data. It is printed when a round fails, read back to replay it, and made smaller by ``shrink.py``.
"""

import json
import random
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from hack.servers import Family
from tests.torture.faults import ALL, CUTOVER_HOLDS, ENDING, FAULTS, HOLDS
from tests.torture.tables import Shape, random_shapes
from tests.torture.workload import KINDS

Flags = dict[str, str | int | bool]

_ROW_IMAGES = ("FULL", "MINIMAL", "NOBLOB")
STAGES = ("Copying", "Streaming", "ReadyForCutover", "CuttingOver", "Completed")
"""In their order."""
_MOST_AT_ONCE = 3
_ENDING_SHARE = 0.2


@dataclass(frozen=True)
class Action:
    """Faults at the same time. ``hold`` names the statement that a proxy holds back meanwhile, if it comes."""

    faults: tuple[str, ...]
    after: float
    hold: str = ""
    skip: int = 0
    """How many such statements pass before one is held back."""
    stage: str = ""
    """Not before the run has come to this stage, if it does in time."""
    down: float = 0.0
    """Seconds until a copier that was killed is started again."""


@dataclass(frozen=True)
class Plan:
    """``approve_at``: before which of the actions the cutover is approved, and again and again after that."""

    seed: int
    family: Family
    tables: tuple[Shape, ...]
    bulk: int
    threads: int
    pause: float
    kinds: tuple[str, ...]
    actions: tuple[Action, ...]
    approve_at: int
    flags: Flags = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        found = json.loads(text)
        return cls(
            **found
            | {
                "family": Family(found["family"]),
                "tables": tuple(Shape(**one | {"extras": tuple(one["extras"])}) for one in found["tables"]),
                "actions": tuple(Action(**one | {"faults": tuple(one["faults"])}) for one in found["actions"]),
                "kinds": tuple(found["kinds"]),
                "options": tuple(found["options"]),
            }
        )

    def with_actions(self, actions: tuple[Action, ...]) -> Self:
        """Fewer of them; the cutover is approved before as many."""
        return replace(self, actions=actions, approve_at=min(self.approve_at, len(actions)))


def make_plan(seed: int, family: Family) -> Plan:
    """The same for the same seed, on any machine."""
    rng = random.Random(f"{seed} {family}")
    number = rng.randint(6, 12)
    approve_at = rng.randint(number - 4, number)
    actions = tuple(_action(rng, approved=at >= approve_at) for at in range(number))
    return Plan(
        seed,
        family,
        random_shapes(rng, family),
        bulk=rng.choice((500, 1500, 4000)),
        threads=rng.randint(1, 4),
        pause=rng.choice((0.002, 0.02, 0.06)),
        kinds=tuple(kind for kind in KINDS if rng.random() < 0.8) or ("update",),
        actions=actions,
        approve_at=approve_at,
        flags=_flags(rng, family),
        spec=_spec(rng),
        options=rng.choice(((), (), ("--retry-for", "3s"))),
    )


def _action(rng: random.Random, *, approved: bool) -> Action:
    at_once = min(_MOST_AT_ONCE, 1 + int(rng.expovariate(1.2)))
    names = list(ENDING if rng.random() < _ENDING_SHARE else FAULTS)
    chosen: dict[str, str] = {}  # who does it -> what: nobody does two things at once
    for _ in range(at_once):
        name = rng.choices(names, [ALL[one].weight for one in names])[0]
        chosen.setdefault(ALL[name].actor, name)
        names = list(FAULTS)
    return Action(
        tuple(chosen.values()),
        after=rng.choice((0.0, rng.uniform(0, 1), rng.uniform(0, 3))),
        hold=_hold(rng, approved=approved),
        skip=rng.choice((0, 0, rng.randint(0, 20))),
        stage=rng.choice(("", "", *STAGES[:3])),
        down=rng.choice((0.0, rng.uniform(0, 2))),
    )


def _hold(rng: random.Random, *, approved: bool) -> str:
    return rng.choice(("", *(name for name in HOLDS if approved or name not in CUTOVER_HOLDS)))


def _flags(rng: random.Random, family: Family) -> Flags:
    """Of the source. All are in each plan, so that none of an earlier round stays."""
    flags: Flags = {
        "binlog_row_image": rng.choice(_ROW_IMAGES),
        "binlog_checksum": rng.choice(("CRC32", "NONE")),
    }
    if family is Family.MARIADB:
        return flags | {
            "binlog_row_metadata": rng.choice(("NO_LOG", "MINIMAL", "FULL")),
            "log_bin_compress": rng.random() < 0.4,
            "gtid_strict_mode": rng.random() < 0.7,
        }
    gtids = rng.random() < 0.75
    return flags | {
        "binlog_row_metadata": rng.choice(("MINIMAL", "FULL")),
        "binlog_transaction_compression": rng.random() < 0.4,
        "binlog_order_commits": rng.random() < 0.7,
        "gtid_mode": gtids,
        "enforce_gtid_consistency": gtids,
    }


def _spec(rng: random.Random) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "copy": {"workers": rng.randint(1, 6), "chunkTargetBytes": rng.choice(("64Ki", "256Ki", "1Mi"))},
        "verify": {"mode": rng.choice(("Final", "Continuous")), "onMismatch": rng.choice(("Fail", "Repair"))},
    }
    if rng.random() < 0.5:
        spec["throttle"] = {"maxRowsPerSecond": rng.choice((300, 1000, 3000))}
    if rng.random() < 0.3:
        spec["checkpoint"] = {"store": "Target"}
    return spec
