"""What a newcomer types first does what it says, and leaves nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hack.demo import place
from hack.families import Unavailable
from hack.kubernetes import cluster as clusters

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_ends_with_both_sides_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    name = f"demo-{os.getpid()}"
    program = [sys.executable, str(ROOT / "hack/demo/run.py"), "--cluster", name]
    try:
        run = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert run.returncode == 0, run.stdout
        assert "both sides are equal: 2 tables" in run.stdout
        assert "until the source refused to write" in run.stdout
        print("\n".join(run.stdout.splitlines()[-6:]))
    finally:
        subprocess.run([sys.executable, str(ROOT / "hack/demo/down.py"), "--cluster", name], check=True)
    assert clusters.find(name) is None


@pytest.mark.parametrize(("variable", "value"), [("KUBECONFIG", "/some/where"), ("IMAGE", "ferry:1")])
def test_a_cluster_without_an_image_is_refused_and_the_other_way_round(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    for name in ("KUBECONFIG", "IMAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(Unavailable, match="KUBECONFIG and IMAGE go together"):
        place.given()
