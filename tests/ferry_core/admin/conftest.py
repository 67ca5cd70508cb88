"""A Ferry between two servers, as a manifest and loaded."""

from pathlib import Path

import pytest

from ferry_core.manifest import LoadedFerry, load
from tests.support.manifests import ferry_between, write
from tests.support.servers import Pair


@pytest.fixture
def manifest(pair: Pair, tmp_path: Path) -> Path:
    ends = pair.source.endpoint("source"), pair.target.endpoint("target")
    documents = ferry_between(*ends, tables={"include": ["shop.*"]})
    documents[0]["metadata"]["uid"] = tmp_path.name
    return write(tmp_path, *documents)


@pytest.fixture
def loaded(manifest: Path) -> LoadedFerry:
    return load([manifest])
