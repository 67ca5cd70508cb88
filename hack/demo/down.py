"""`make demo-down`: removes what the demo created: its own cluster, or its objects in an existing cluster."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hack.demo import place, traces
from hack.installing import Unavailable


def main() -> int:
    options = place.options(__doc__ or "")
    try:
        theirs = place.given()
        if theirs is None:
            print("the demo's cluster has ended" if place.end(options.cluster) else "no cluster of the demo runs")
            return 0
        traces.clear(theirs)
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
