"""Minimum figures that a bench must reach, and the report of whether it did. Used by ``run`` and ``fleet``."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console


@dataclass(frozen=True)
class Floor:
    """One figure with its minimum."""

    name: str
    value: float
    bound: float
    at_least: bool
    unit: str

    @property
    def reached(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        relation = "at least" if self.at_least else "at most"
        return f"{self.name}: {self.value:,.2f} {self.unit} ({relation} {self.bound:,g})"


def show_floors(floors: Iterable[Floor], console: Console) -> None:
    """Print one line for each."""
    for floor in floors:
        console.print(
            f"{'ok  ' if floor.reached else 'MISSED'} {floor}", style="green" if floor.reached else "bold red"
        )
