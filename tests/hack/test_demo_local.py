"""`make demo-local` proves both sides equal, on both families."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hack.servers import Family, Unavailable, install
from tests.support.servers import refuse_family

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("family", Family)
def test_the_demo_ends_with_both_servers_equal(family: Family) -> None:
    try:
        install(family)
    except Unavailable as error:
        refuse_family(family, str(error))
    line = [sys.executable, str(ROOT / "hack/demo_local.py"), f"--family={family}", "--rows=4000"]
    run = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "both sides are equal: 10 tables" in run.stdout
    assert re.search(r"writes on the source were blocked for \d+ ms", run.stdout)
    (written,) = re.findall(r"(\S+) transactions written to the source meanwhile", run.stdout)
    assert int(written.replace(",", "")) > 100
    print("\n".join(run.stdout.splitlines()[-4:]))
