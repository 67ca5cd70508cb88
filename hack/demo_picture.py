"""Draws docs/demo.svg from a real run of the demo: the output that a user sees of a Ferry.

Run ``.venv/bin/python hack/demo_picture.py`` by hand when the demo's output has changed. The creation of the cluster is
left out.
"""

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
WIDTH = 132
FIRST_LINE, LAST_LINE = "the Ferry, ", "both sides are equal"


def main() -> None:
    """Run the demo in a pipe and export its lines, from the Ferry to the final comparison."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "hack" / "demo" / "run.py")],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    lines = run.stdout.splitlines()
    first, last = (
        next(number for number, line in enumerate(lines) if line.startswith(words)) for words in (FIRST_LINE, LAST_LINE)
    )
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    for line in lines[first : last + 1]:
        console.print(Text(line, style="bold" if line.startswith("$ ") else ""))
    # Uses no downloaded fonts: every viewer has a fixed-width font.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="make demo"), flags=re.DOTALL)
    (ROOT / "docs" / "demo.svg").write_text(picture)
    print(run.stdout)


if __name__ == "__main__":
    main()
