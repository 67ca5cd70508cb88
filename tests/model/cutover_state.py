"""A state of the cutover model, what a case may contain, and the rules. Their defaults are those of ``ferry_core``."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

PERSON = 99
"""Who has set the source read-only, if it was no run. Runs are numbered from 1."""
NOBODY = 0


@dataclass(frozen=True)
class CutoverConfig:
    ferries: int = 1
    writes: int = 1
    """By the application, in all."""
    attempts: int = 1
    """Of each run."""
    runs: int = 3
    """In all, with successors."""

    kills: int = 0
    second_runs: int = 0
    """How often a run is started although its predecessor still runs, or wakes up again."""
    target_away: int = 0
    target_loses: int = 0
    """A crash of the target takes back its last commit, if that was not flushed."""
    source_restarts: int = 0
    mutex_lost: int = 0
    """The session that holds the mutex breaks."""
    persons: int = 0
    """A person sets the source read-only, between two attempts."""
    mutex_silent: bool = False
    """The session that holds the mutex may not answer: a second session unlocks."""

    mutex: bool = True
    unlock_without_target: bool = True
    unlock_by_mutex: bool = True
    """The statement that unlocks is sent over the session that holds the mutex."""
    enrol_before_look: bool = True
    """A second session that unlocks is found by others before it looks who holds the mutex."""
    give_up_excludes_record: bool = True
    intent_first: bool = True
    kill_leftovers: bool = True
    enrol_before_confirm: bool = True
    refuse_read_only: bool = True
    evidence: bool = True
    """A successor restores only what an attempt of its Ferry has set."""
    evidence_exact: bool = True
    """Of the servers: they tell the attempts of two Ferries apart. False: same account, same time."""
    one_statement: bool = True
    """An attempt begins only when no lock statement of another Ferry is running, or about to be sent."""
    last_look: bool = True
    late_look: bool = True
    """After the drain the stream is read to its end once more."""
    fenced_record: bool = True
    fenced_undo: bool = True
    flush: bool = True
    """The record is flushed to the target's disk before people are told of it ..."""
    flush_found: bool = True
    """... also by a run that finds it."""

    def but(self, **changes: Any) -> "CutoverConfig":
        return replace(self, **changes)


class Source(NamedTuple):
    read_only: int  # who has set it
    mutex: int  # the run whose session holds it
    writes: int


class Lease(NamedTuple):
    """One Ferry's row on the target."""

    epoch: int
    phase: str  # Streaming, CuttingOver, Completed
    attempt: int  # the run that records it
    locked: int  # the run whose transaction holds the row's lock
    drained: int  # writes of the source that are on the target, as recorded with Completed


class Run(NamedTuple):
    ferry: int
    epoch: int
    doing: str  # the attempt's thread, or the start
    undo: str  # the thread that gives up and undoes; empty: not given up
    # of the lock statement, on the server: none, enrolled, pending, done; or of a second one that unlocks: standing,
    # unlocking, unlocked
    session: str
    sent: bool  # whether the run believes that its statement may have been sent
    drained: int
    attempts: int
    alive: bool


class State(NamedTuple):
    source: Source
    leases: tuple[Lease, ...]
    unflushed: tuple[Lease, ...]  # as they were before the last commit; empty: that is on disk
    target_up: bool
    returns: bool  # whether a target that is away comes back
    runs: tuple[Run, ...]
    told: tuple[int, ...]  # of each Ferry: the writes that its users were told are on the target; -1: no hand-over yet
    person: bool  # a person wants the source read-only
    left: tuple[tuple[str, int], ...]  # faults that may still happen


FOUND_BY_OTHERS = frozenset({"enrolled", "pending", "standing", "unlocking"})
"""A run's session on the source with which no other attempt begins, and which a successor ends."""

Label = tuple[object, ...]
Step = tuple[Label, State]


def first_state(config: CutoverConfig) -> State:
    faults = (
        ("kills", config.kills),
        ("second_runs", config.second_runs),
        ("target_away", config.target_away),
        ("target_loses", config.target_loses),
        ("source_restarts", config.source_restarts),
        ("mutex_lost", config.mutex_lost),
        ("persons", config.persons),
    )
    run = Run(0, 1, "idle", "", "none", False, -1, config.attempts, True)
    return State(
        Source(NOBODY, NOBODY, 0),
        (Lease(1, "Streaming", NOBODY, NOBODY, -1),) * config.ferries,
        (),
        True,
        True,
        tuple(run._replace(ferry=ferry) for ferry in range(config.ferries)),
        (-1,) * config.ferries,
        False,
        tuple(fault for fault in faults if fault[1]),
    )


def spent(state: State, fault: str) -> State:
    left = tuple((name, count - (name == fault)) for name, count in state.left)
    return state._replace(left=tuple(one for one in left if one[1]))


def with_run(state: State, ident: int, **changes: Any) -> State:
    run = state.runs[ident - 1]._replace(**changes)
    return state._replace(runs=(*state.runs[: ident - 1], run, *state.runs[ident:]))


def with_source(state: State, **changes: Any) -> State:
    return state._replace(source=state.source._replace(**changes))


def restored(state: State) -> State:
    """read_only as before the attempt: off, or a person's."""
    return with_source(state, read_only=PERSON if state.person else NOBODY)


def mutex_free(state: State) -> State:
    return with_source(state, mutex=NOBODY)


def with_lease(state: State, ferry: int, **changes: Any) -> State:
    lease = state.leases[ferry]._replace(**changes)
    return state._replace(leases=(*state.leases[:ferry], lease, *state.leases[ferry + 1 :]))


def lease_of(state: State, run: Run) -> Lease:
    return state.leases[run.ferry]


def is_current(state: State, run: Run) -> bool:
    return lease_of(state, run).epoch == run.epoch


def free_lease(state: State, ident: int) -> bool:
    """Whether the row can be read with a lock now."""
    return state.target_up and lease_of(state, state.runs[ident - 1]).locked in (NOBODY, ident)
