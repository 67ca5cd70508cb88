"""Draws docs/demo.svg from a real run of the local demo: what a user sees, nothing made up.

Run as ``.venv/bin/python hack/demo_picture.py``, by hand, when what the demo prints has changed.
"""

import io
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
WIDTH = 118


def main() -> None:
    """Run the demo in a pipe, where it prints plain lines, and export them."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "hack" / "demo_local.py")], capture_output=True, text=True, check=True, cwd=ROOT
    )
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text("$ make demo-local", style="bold"))
    for line in (run.stdout + run.stderr).splitlines():
        console.print(Text(line), highlight=True)
    console.save_svg(str(ROOT / "docs" / "demo.svg"), title="mysql-ferry")
    print(run.stdout)


if __name__ == "__main__":
    main()
