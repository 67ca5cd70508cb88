"""``ferry abort`` and ``ferry cleanup`` after a run that died. Used by the tests of ``ferry_core.admin``."""

from pathlib import Path

from click.testing import CliRunner, Result

from ferry_core.api.spec import ferry_uid
from ferry_core.cli.main import main
from ferry_core.consistency.fence import Fence
from ferry_core.manifest import LoadedFerry
from ferry_core.mysql.session import Purpose, Session
from ferry_core.run.setup import source_identity
from tests.support.servers import Pair


def died(loaded: LoadedFerry) -> Fence:
    """The fence of a run of which only the lease row is left."""
    with Session(loaded.source, Purpose.CONTROL) as source:
        identity = source_identity(source)
    uid = ferry_uid(loaded.ferry)
    fence, _ = Fence.take(lambda: Session(loaded.target, Purpose.TARGET), uid, "shop/orders", identity)
    return fence


def ferry(verb: str, manifest: Path, *options: str) -> Result:
    done = CliRunner().invoke(main, [verb, "-f", str(manifest), *options])
    print(done.output)
    return done


def read_only(pair: Pair) -> int:
    return int(pair.source.value("SELECT @@global.read_only"))
