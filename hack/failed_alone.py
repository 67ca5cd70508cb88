"""``make test``: run the tests that failed beside others once more, alone, and say loudly which passed then.

    python hack/failed_alone.py EXIT_CODE_OF_PYTEST

A test that fails at load and passes alone hopes for something and must be repaired; the output of both runs shows for
what. It does not refuse a change that has nothing to do with it. More than a few are no accident and are not repeated.
"""

import json
import subprocess
import sys
from pathlib import Path

TESTS_FAILED = 1  # pytest's other exit codes: interrupted, an internal error, wrong usage, nothing collected
AT_MOST = 10
ROOT = Path(__file__).resolve().parents[1]
LAST_FAILED = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"


def main(exit_code: int) -> int:
    """The exit code of ``make test``."""
    failed = sorted(json.loads(LAST_FAILED.read_text())) if LAST_FAILED.exists() else []
    if exit_code != TESTS_FAILED or not 1 <= len(failed) <= AT_MOST:
        return exit_code
    print(f"\n{len(failed)} failed beside other tests and are run once more, alone:", *failed, sep="\n  ", flush=True)
    again = subprocess.run([sys.executable, "-m", "pytest", "--tb=short", *failed], cwd=ROOT, check=False)
    if again.returncode == 0:
        print("UNSTABLE: failed beside other tests, passed alone; repair them:", *failed, sep="\n  ", flush=True)
    return again.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
