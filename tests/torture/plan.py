"""What one round does, made from its seed alone: tables, application, flags, spec, and faults in their order.

A plan is plain data. It is printed when a round fails, read back to replay it, and made smaller by ``shrink.py``.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from hack.servers import Family
from tests.torture.faults import ENDING, FAULTS, HOLDS_IN, Fault
from tests.torture.tables import Shape, random_shapes
from tests.torture.workload import KINDS

Flags = dict[str, str | int | bool]

_ROW_IMAGES = ("FULL", "MINIMAL", "NOBLOB")
STAGES = ("Copying", "Streaming", "ReadyForCutover", "CuttingOver", "Completed")
"""In their order."""
_ACTING = {"copier": 0.85, "source": 0.22, "target": 0.22, "source network": 0.5, "target network": 0.5, "people": 0.4}
"""How often each does something in a step."""
_ENDING_SHARE = 0.25
_SHARES = {"Copying": 0.45, "Streaming": 0.2, "ReadyForCutover": 0.1, "CuttingOver": 0.25}
"""How much of a round happens at each stage, if the run does not come further by itself."""
_ANY_TIME_SHARE = 0.1
"""Faults that wait for no stage: they meet starts."""


@dataclass(frozen=True)
class Action:
    """Faults at the same time. ``hold`` names the statement that a proxy holds back meanwhile, if it comes."""

    faults: tuple[str, ...]
    after: float
    """Seconds until what happens to the copier, from the begin of the others."""
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
    number = rng.randint(14, 30)
    stages = [stage for stage, share in _SHARES.items() for _ in range(max(1, round(number * share)))]
    actions = tuple(_action(rng, stage) for stage in stages)
    return Plan(
        seed,
        family,
        random_shapes(rng, family),
        bulk=rng.choice((1500, 4000, 8000)),
        threads=rng.randint(1, 3),
        pause=rng.choice((0.01, 0.03, 0.06)),
        kinds=tuple(kind for kind in KINDS if rng.random() < 0.8) or ("update",),
        actions=actions,
        approve_at=stages.index("CuttingOver"),
        flags=_flags(rng, family),
        spec=_spec(rng),
        options=rng.choice(((), (), ("--retry-for", "3s"))),
    )


def _action(rng: random.Random, stage: str) -> Action:
    chosen: dict[str, str] = {}  # who does it -> what: nobody does two things at once
    if rng.random() < _ENDING_SHARE:
        name = _weighted(rng, ENDING)
        chosen[ENDING[name].actor] = name
    for actor, share in _ACTING.items():
        if rng.random() < share:
            chosen.setdefault(actor, _weighted(rng, {name: one for name, one in FAULTS.items() if one.actor == actor}))
    if not chosen:
        chosen["copier"] = "copier killed"
    if stage != "CuttingOver" and rng.random() < _ANY_TIME_SHARE:
        stage = ""
    hold = rng.choice(("", *HOLDS_IN[stage]))
    return Action(
        tuple(chosen.values()),
        after=rng.choice((0.0, rng.uniform(0, 2))),
        hold=hold,
        skip=0 if stage == "CuttingOver" else rng.choice((0, 0, rng.randint(0, 8))),
        stage=stage,
        down=rng.choice((0.0, 0.0, rng.uniform(0, 1))),
    )


def _weighted(rng: random.Random, faults: Mapping[str, Fault]) -> str:
    return rng.choices(list(faults), [one.weight for one in faults.values()])[0]


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
        "throttle": {"maxRowsPerSecond": rng.choice((50, 100, 200))},
        "copy": {"workers": rng.randint(1, 6), "chunkTargetBytes": rng.choice(("64Ki", "256Ki", "1Mi"))},
        "verify": {"mode": rng.choice(("Final", "Continuous")), "onMismatch": rng.choice(("Fail", "Repair"))},
    }
    if rng.random() < 0.3:
        spec["checkpoint"] = {"store": "Target"}
    spec["schema"] = {"onChange": rng.choice(("Fail", "Recopy")), "deferIndexes": rng.random() < 0.5}
    return spec
