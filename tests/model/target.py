"""The target: what one transaction of the copier does to its rows, and commits that a crash takes back."""

from collections.abc import Iterator

from tests.model.config import Config
from tests.model.state import Row, Rows, State, Step, Stored, Write

REMEMBERED = 2
"""How many commits a crash of the target may lose."""


class Target:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._keys = range(config.keys)
        self._classes = config.classes or tuple(self._keys)
        self._unique = bool(config.values)

    def apply(self, target: Rows, write: Write) -> Rows:
        """Delete what was asked for and is gone, then LOAD DATA ... REPLACE the rows."""
        rows = list(target)
        if self._config.delete_first:
            self._delete(rows, write)
        for key, row in write.rows:
            for other in self._keys:
                there = rows[other]
                same = self._classes[other] == self._classes[key]
                if there and (same or (self._unique and there.unique == row.unique)):
                    rows[other] = None
            rows[key] = row
        if not self._config.delete_first:
            self._delete(rows, write)
        return tuple(rows)

    def _delete(self, rows: list[Row | None], write: Write) -> None:
        found = {key for key, _ in write.rows}
        for asked in write.keys:
            if asked not in found:
                for key in self._keys:
                    if self._classes[key] == self._classes[asked]:
                        rows[key] = None

    def written(self, state: State, write: Write) -> State:
        """After the commit of a transaction with rows."""
        return self.committed(state, self.apply(state.target, write))

    def committed(
        self, state: State, rows: Rows | None = None, stored: Stored | None = None, marked: int | None = None
    ) -> State:
        """After a commit. ``stored`` only where the checkpoint is on the target."""
        past = state.past
        if self._config.target_loses and state.faults:
            past = (*past, (state.target, state.stored, state.marked))[-REMEMBERED:]
        return state._replace(
            target=state.target if rows is None else rows,
            stored=state.stored if stored is None else stored,
            marked=state.marked if marked is None else marked,
            past=past,
        )

    def lose_commits(self, state: State) -> Iterator[Step]:
        """A crash: InnoDB recovers a prefix of the commits. With them goes a checkpoint that is stored there."""
        on_target = self._config.store == "target"
        for at, (rows, stored, marked) in enumerate(state.past):
            lost = len(state.past) - at
            yield (
                ("TARGET RESTARTS, commits lost:", lost),
                state._replace(
                    target=rows, stored=stored if on_target else state.stored, marked=marked, past=state.past[:at]
                ),
            )
