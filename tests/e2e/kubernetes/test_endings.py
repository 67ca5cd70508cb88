"""Abort and deletion on a whole cluster: dedicated Pods clean up, and nothing keeps a Ferry from being deleted."""

from tests.e2e.kubernetes.conftest import MakeFerry
from tests.support.cluster_ferry import COPIER, FERRY, SCHEMA


def test_an_aborted_ferry_unlocks_the_source_and_keeps_the_target(make_ferry: MakeFerry) -> None:
    ferry = make_ferry()
    ferry.create()
    ferry.wait_for_stage("ReadyForCutover")
    with ferry.drain_held():
        ferry.patch_spec(aborted=True)
        ferry.wait_until(lambda: ferry.current_status.get("phase") == "Aborted", "Aborted")
    assert not ferry.source_is_read_only()
    assert ferry.condition(FERRY, "Succeeded")["reason"] == "Aborted"
    assert ferry.pod(COPIER) is None
    assert int(ferry.pair.target.value(f"SELECT COUNT(*) FROM {SCHEMA}.bulk")) > 0


def test_a_ferry_deleted_while_copying_frees_its_name_at_once(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=20_000)
    ferry.create(throttle={"maxRowsPerSecond": 1000}, deletionPolicy="DropTarget")
    ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
    ferry.kubectl("delete", "ferry", FERRY)
    ferry.create(cutover={"mode": "Automatic"})
    ferry.wait_for_stage("Completed")
    ferry.assert_equal()


def test_a_finished_ferry_is_deleted_with_all_its_objects(make_ferry: MakeFerry) -> None:
    ferry = make_ferry()
    ferry.create(cutover={"mode": "Automatic"}, deletionPolicy="DropTarget")
    ferry.wait_for_stage("Completed")
    ferry.kubectl("delete", "ferry", FERRY)
    ferry.wait_until(
        lambda: ferry.own_objects() == ["secret/source", "secret/target"], "only the user's Secrets are left"
    )
    ferry.assert_equal()


def test_a_ferry_deleted_while_the_operator_is_down_vanishes_once_it_is_back(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=20_000)
    ferry.create(throttle={"maxRowsPerSecond": 1000})
    ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
    with ferry.cluster.operators(0):
        ferry.kubectl("delete", "ferry", FERRY, "--wait=false")
        copied = ferry.target_rows
        ferry.wait_until(lambda: ferry.target_rows > copied, "the copier goes on meanwhile")
    ferry.wait_until(lambda: ferry.ferry(FERRY) is None, "the Ferry is gone")
    assert ferry.pod(COPIER) is None


def test_a_deletion_with_an_unreachable_target_reports_how_to_finish_it(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=20_000)
    ferry.create(throttle={"maxRowsPerSecond": 1000})
    ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
    ferry.pair.target.kill()
    ferry.kubectl("delete", "ferry", FERRY, "--wait=false")
    ferry.wait_for_message(FERRY, "being deleted: cleaning up on the target", "cannot be reached")
    ferry.kubectl("annotate", "ferry", FERRY, "mysqlferry.io/skip-cleanup=true")
    ferry.wait_until(lambda: ferry.ferry(FERRY) is None, "the Ferry is gone")
    assert not ferry.source_is_read_only()


def test_edited_and_deleted_while_it_starts(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(odd=0)
    ferry.create()
    ferry.patch_spec(copier={"template": {"metadata": {"labels": {"edited": "yes"}}}})
    ferry.wait_for_stage("ReadyForCutover")
    pod = ferry.pod(COPIER)
    assert pod is not None
    assert pod["metadata"]["labels"]["edited"] == "yes"
    ferry.kubectl("delete", "ferry", FERRY)
    ferry.create()
    ferry.kubectl("delete", "ferry", FERRY)
    ferry.wait_until(
        lambda: ferry.own_objects() == ["secret/source", "secret/target"], "only the user's Secrets are left"
    )
    assert not ferry.source_is_read_only()


def test_the_namespace_of_a_running_ferry_can_be_deleted(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=20_000)
    ferry.create(throttle={"maxRowsPerSecond": 1000})
    ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
    ferry.cluster.kubectl("delete", "namespace", ferry.namespace, "--wait=false")
    ferry.wait_until(lambda: not ferry.exists, "the namespace is gone")
    copied = ferry.target_rows
    assert not ferry.source_is_read_only()
    assert ferry.target_rows == copied, "nobody writes any more"
