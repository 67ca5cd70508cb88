"""``ferry completion``, in the shells themselves."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hack.installing import Unavailable, apt_install, locked
from tests.support.kube_api import refuse

ASKED = {
    # As bash does: the words, and the function that the script has registered.
    "bash": (
        "source <(ferry completion bash); complete -p ferry >/dev/null; COMP_WORDS=(ferry st); COMP_CWORD=1; "
        '_ferry_completion ferry; printf "%s\\n" "${COMPREPLY[@]}"'
    ),
    "fish": 'ferry completion fish | source; complete -C "ferry st"',
    "zsh": "autoload -Uz compinit; compinit -uD; . <(ferry completion zsh); [[ -n $_comps[ferry] ]] && print status",
}


def _provide(shell: str) -> None:
    """If it is not there and cannot be installed: skips with a message, or fails on a CI machine."""
    try:
        with locked("shells"):
            if shutil.which(shell) is None:
                apt_install(shell)
    except Unavailable as error:
        refuse(f"NO {shell.upper()}, ITS COMPLETION IS NOT TESTED: {error}")


@pytest.mark.parametrize("shell", ASKED)
def test_a_shell_completes_a_command(shell: str, tmp_path: Path) -> None:
    _provide(shell)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [shell, "-c", ASKED[shell]],
        env={"PATH": path, "HOME": str(tmp_path), "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.split()[0] == "status", done.stderr
