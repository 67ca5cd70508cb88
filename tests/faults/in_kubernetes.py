"""Faults of the cluster. The operator never connects to a database, so none of them can touch a row."""

from ferry_core.reasons import Reason
from tests.faults.table import Cell, NotMade, Outcome, Section, nothing_to_do, tested

_CLUSTER = "e2e/kubernetes"

KUBERNETES = Section(
    "Kubernetes",
    (
        nothing_to_do(
            "A Pod is deleted, evicted or drained",
            "any phase",
            "a new Pod resumes",
            tested(
                "ferry_operator/test_faults.py::test_a_pod_that_somebody_deletes_is_created_again",
                f"{_CLUSTER}/test_cutover.py::test_five_kills_and_an_operator_restart_lose_nothing",
            ),
        ),
        Cell(
            "A node is lost, perhaps alive",
            "any phase",
            Outcome.STOPS,
            "NodeLost; no second copier is started beside one that may live",
            "delete the Pod by force once the node is certainly off; the lease keeps two from writing in any case",
            tested(
                f"{_CLUSTER}/test_faults.py::test_a_lost_node_is_reported_and_needs_a_person",
                f"{_CLUSTER}/test_faults.py::test_a_node_that_does_not_answer_keeps_its_copier",
            ),
            Reason.NODE_LOST,
        ),
        nothing_to_do(
            "The API server is away",
            "any phase",
            "copiers go on; status is old until it is back",
            tested(
                f"{_CLUSTER}/test_operator_faults.py::test_an_api_server_outage_of_a_minute_stops_no_copier",
                "ferry_operator/test_faults.py::test_the_api_server_is_unavailable_for_a_while",
            ),
        ),
        nothing_to_do(
            "The operator is killed in any action",
            "start, directive, abort, deletion",
            "the next one completes the action",
            tested(
                f"{_CLUSTER}/test_operator_faults.py::test_an_operator_killed_after_every_request",
                "ferry_operator/test_killed.py::test_while_a_copier_is_started",
                "ferry_operator/test_killed.py::test_while_a_ferry_is_aborted",
                "ferry_operator/test_killed.py::test_while_a_ferry_is_deleted",
            ),
        ),
        nothing_to_do(
            "Two operators by mistake",
            "any phase",
            "one copier",
            tested(f"{_CLUSTER}/test_operator_faults.py::test_two_operators_by_mistake_make_one_copier"),
        ),
        nothing_to_do(
            "The Ferry is edited, deleted, or made again with the same name",
            "any phase",
            "each Ferry has its own identity; a forbidden change is refused and the copier continues",
            tested(
                f"{_CLUSTER}/test_endings.py::test_edited_and_deleted_while_it_starts",
                f"{_CLUSTER}/test_refusals.py::test_a_forbidden_change_is_refused_and_the_copier_continues",
                "ferry_operator/test_hard_endings.py::test_the_same_name_again_at_once",
            ),
        ),
        nothing_to_do(
            "A Secret changes or is deleted",
            "any phase",
            "a new Pod with the new one, once the old Pod is gone",
            tested(
                "ferry_operator/test_faults.py::test_a_changed_credential_reference_makes_a_new_pod_once_the_old_one_is_gone",
                "ferry_operator/test_faults.py::test_a_secret_that_somebody_deletes_before_the_copier_starts_is_created_again",
            ),
        ),
        nothing_to_do(
            "An image cannot be pulled",
            "start",
            "ImagePullBackOff in the status, retried by the kubelet",
            tested("ferry_operator/test_faults.py::test_an_image_that_cannot_be_pulled"),
        ),
        nothing_to_do(
            "A copier dies while the operator is down",
            "any phase",
            "the kubelet restarts it in its Pod, and it resumes",
            tested(
                f"{_CLUSTER}/test_operator_faults.py::test_a_copier_that_dies_while_the_operator_is_down_is_restarted_in_place"
            ),
        ),
        nothing_to_do(
            "The kubelet or the container runtime is restarted",
            "any phase",
            "containers go on",
            NotMade(
                "the tests' cluster has one node, whose kubelet keeps the Pods of all tests. A kubelet that is away is "
                "made (a node that does not answer)"
            ),
        ),
        nothing_to_do(
            "The disk of a node is full, or its processes are evicted for it",
            "any phase",
            "as an eviction: a new Pod resumes",
            NotMade("it would evict the Pods of all tests; the operator gets the same Pod as for any eviction"),
        ),
        nothing_to_do(
            "A copier hangs",
            "any phase",
            "CopierSilent, then its probe ends it and it resumes",
            tested(f"{_CLUSTER}/test_faults.py::test_a_hanging_copier_is_reported_silent_and_ended_by_its_probe"),
        ),
        nothing_to_do(
            "A copier exceeds its memory",
            "any phase",
            "OOMKilled in the status, and a restart",
            tested(f"{_CLUSTER}/test_faults.py::test_a_copier_over_its_memory_limit_is_reported"),
        ),
        nothing_to_do(
            "CRD, operator and copier have different versions",
            "upgrade",
            "an older copier goes on; a newer spec is refused by name",
            tested(
                "ferry_operator/test_api_faults.py::test_a_spec_that_is_newer_than_the_operator",
                f"{_CLUSTER}/test_operator_faults.py::test_a_deleted_crd_deletes_its_ferries_and_can_be_installed_again",
            ),
        ),
        nothing_to_do(
            "Admission, quota or a missing permission refuses a Pod",
            "start",
            "PodRefused with the answer, retried",
            tested(
                f"{_CLUSTER}/test_refusals.py::test_a_policy_that_refuses_the_pod_is_reported_and_retried",
                f"{_CLUSTER}/test_faults.py::test_an_exhausted_quota_is_reported_and_retried",
                f"{_CLUSTER}/test_operator_faults.py::test_a_missing_permission_is_reported_and_retried",
            ),
        ),
    ),
)
