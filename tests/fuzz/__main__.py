"""``make fuzz SECONDS=60``: each target with bytes that atheris finds, guided by the branches that they take.

What ends a target with an error that has no reason is kept under build/fuzz/, and printed; put it into ``FOUND`` of
``test_targets.py`` and fix it.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "build" / "fuzz"


def _one(name: str, seconds: str) -> None:
    """In a process of its own: atheris ends it."""
    import atheris

    with atheris.instrument_imports(include=["ferry_core", "pymysql"]):
        from tests.fuzz.targets import SEEDS, TARGETS

    corpus, found = ROOT / name, ROOT / "found" / f"{name}-"
    corpus.mkdir(parents=True, exist_ok=True)
    found.parent.mkdir(exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = (f"-max_total_time={seconds}", f"-artifact_prefix={found}", "-timeout=20", "-rss_limit_mb=4096")
    atheris.Setup([sys.argv[0], *options, "-max_len=4096", "-print_final_stats=1", str(corpus)], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    if len(sys.argv) == 3:
        _one(*sys.argv[1:])
        return 0
    from tests.fuzz.targets import TARGETS

    codes = {name: _apart(name, sys.argv[1]) for name in TARGETS}
    for name, code in codes.items():
        print(f"{name}: {'nothing found' if code == 0 else f'exit code {code}'}")
    return int(any(codes.values()))


def _apart(name: str, seconds: str) -> int:
    return subprocess.run([sys.executable, "-m", "tests.fuzz", name, seconds], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
