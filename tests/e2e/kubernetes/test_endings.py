"""Abort and deletion on a whole cluster: Pods of their own clean up, and nothing keeps a Ferry from going."""

import pytest

from tests.e2e.kubernetes.conftest import Embark
from tests.support.voyage import COPIER, FERRY, SCHEMA

pytestmark = pytest.mark.timeout(600)


def test_an_aborted_ferry_unlocks_the_source_and_keeps_the_target(embark: Embark) -> None:
    voyage = embark()
    voyage.set_out()
    voyage.until_stage("ReadyForCutover")
    with voyage.drain_held():
        voyage.change(aborted=True)
        voyage.until(lambda: voyage.now.get("phase") == "Aborted", "Aborted")
    assert not voyage.source_is_read_only()
    assert voyage.condition(FERRY, "Succeeded")["reason"] == "Aborted"
    assert voyage.pod(COPIER) is None
    assert int(voyage.pair.target.value(f"SELECT COUNT(*) FROM {SCHEMA}.bulk")) > 0


def test_deleted_on_the_way_its_name_is_free_at_once(embark: Embark) -> None:
    voyage = embark(rows=20_000)
    voyage.set_out(throttle={"maxRowsPerSecond": 1000}, deletionPolicy="DropTarget")
    voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
    voyage.kubectl("delete", "ferry", FERRY)
    voyage.set_out(cutover={"mode": "Automatic"})
    voyage.until_stage("Completed")
    voyage.assert_equal()


def test_a_finished_ferry_goes_and_takes_all_of_its_own_along(embark: Embark) -> None:
    voyage = embark()
    voyage.set_out(cutover={"mode": "Automatic"}, deletionPolicy="DropTarget")
    voyage.until_stage("Completed")
    voyage.kubectl("delete", "ferry", FERRY)
    voyage.until(lambda: voyage.own_objects() == ["secret/source", "secret/target"], "only the user's Secrets are left")
    voyage.assert_equal()


def test_deleted_while_the_operator_is_down_it_goes_once_that_is_back(embark: Embark) -> None:
    voyage = embark(rows=20_000)
    voyage.set_out(throttle={"maxRowsPerSecond": 1000})
    voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
    with voyage.cluster.operators(0):
        voyage.kubectl("delete", "ferry", FERRY, "--wait=false")
        copied = voyage.target_rows
        voyage.until(lambda: voyage.target_rows > copied, "the copier goes on meanwhile")
    voyage.until(lambda: voyage.ferry(FERRY) is None, "the Ferry is gone")
    assert voyage.pod(COPIER) is None


def test_deleted_with_its_target_out_of_reach_it_says_how_to_go_on(embark: Embark) -> None:
    voyage = embark(rows=20_000)
    voyage.set_out(throttle={"maxRowsPerSecond": 1000})
    voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
    voyage.pair.target.kill()
    voyage.kubectl("delete", "ferry", FERRY, "--wait=false")
    voyage.until_said(FERRY, "being deleted: cleaning up on the target", "cannot be reached")
    voyage.kubectl("annotate", "ferry", FERRY, "mysqlferry.io/skip-cleanup=true")
    voyage.until(lambda: voyage.ferry(FERRY) is None, "the Ferry is gone")
    assert not voyage.source_is_read_only()


def test_edited_and_deleted_while_it_starts(embark: Embark) -> None:
    voyage = embark(odd=0)
    voyage.set_out()
    voyage.change(copier={"template": {"metadata": {"labels": {"edited": "yes"}}}})
    voyage.until_stage("ReadyForCutover")
    pod = voyage.pod(COPIER)
    assert pod is not None
    assert pod["metadata"]["labels"]["edited"] == "yes"
    voyage.kubectl("delete", "ferry", FERRY)
    voyage.set_out()
    voyage.kubectl("delete", "ferry", FERRY)
    voyage.until(lambda: voyage.own_objects() == ["secret/source", "secret/target"], "only the user's Secrets are left")
    assert not voyage.source_is_read_only()


def test_its_namespace_deleted_under_it_goes(embark: Embark) -> None:
    voyage = embark(rows=20_000)
    voyage.set_out(throttle={"maxRowsPerSecond": 1000})
    voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
    voyage.cluster.kubectl("delete", "namespace", voyage.namespace, "--wait=false")
    voyage.until(lambda: not voyage.exists, "the namespace is gone")
    copied = voyage.target_rows
    assert not voyage.source_is_read_only()
    assert voyage.target_rows == copied, "nobody writes any more"
