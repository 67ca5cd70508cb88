"""Preflight and texts that information_schema prints as question marks."""

import pytest

from tests.support.preflight import check, told
from tests.support.servers import Pair

ENUM = "id INT PRIMARY KEY, e ENUM({}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("'\U0001f600', '?', 'a'", ""),
        ("'?', '\U0001f600', 'a'", "e is enum(0x3f,0xf09f9880,'a') and not enum(0xf09f9880,0x3f,'a')"),
        ("'\U0001f601', '?', 'a'", "e is enum(0xf09f9881,0x3f,'a')"),
    ],
    ids=["alike", "question marks", "another one"],
)
def test_members_beyond_the_basic_plane(pair: Pair, schema: str, there: str, said: str) -> None:
    here = "'\U0001f600', '?', 'a'"
    pair.source.execute(f"CREATE TABLE `{schema}`.t ({ENUM.format(here)})")
    pair.target.execute(f"CREATE DATABASE `{schema}`", f"CREATE TABLE `{schema}`.t ({ENUM.format(there)})")
    found = told(check(pair.source, pair.target, schema))
    assert list(found) == (["TargetTableDiffers"] if said else [])
    assert said in found.get("TargetTableDiffers", "")
