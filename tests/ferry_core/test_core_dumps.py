"""No command leaves a core dump, whatever the limit of the shell that starts it."""

import subprocess
import sys

import pytest

_AT_THE_END = """
import atexit, resource, runpy, sys
atexit.register(lambda: print(resource.getrlimit(resource.RLIMIT_CORE)))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("line", ["ferry_core --version", "ferry_operator --help", "kubectl_ferry --help"])
def test_core_dumps_are_off(line: str) -> None:
    program = [sys.executable, "-c", _AT_THE_END, *line.split()]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("(0, 0)\n")
