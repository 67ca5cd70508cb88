"""The OpenAPI document agrees with the implementation: an API fuzzer asks for everything that it describes, and for
what it forbids.
"""

from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.support.control import Run, ask, serving

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    negative_data_rejection, unsupported_method, ignored_auth,
]  # fmt: skip
EXAMPLES = 12
"""Requests per operation."""


def test_the_document_agrees_with_the_server() -> None:
    run = Run()
    with serving(run, token="fuzz") as server:
        headers = {"Authorization": "Bearer fuzz"}
        document = ask(server, "GET", "/openapi.json", headers=headers)[1]
        del document["paths"]["/api/v1/events"]  # does not end
        schema = schemathesis.openapi.from_dict(document)
        schema.config.update(base_url=server.url)
        asked = 0
        for result in schema.get_all_operations():
            operation = result.ok()  # type: ignore[union-attr]
            cases = st.one_of(
                operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE),
                operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
            ) if operation.body or operation.query else operation.as_strategy()  # fmt: skip

            @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck),
                      phases=[Phase.generate], derandomize=True)  # fmt: skip
            @given(case=cases)
            def fuzz(case: Any) -> None:
                nonlocal asked
                asked += 1
                if case.query.get("wait"):
                    case.query["wait"] = "1ms"
                case.call_and_validate(headers=headers, checks=CHECKS)

            fuzz()
    assert asked > 100
    assert run.asked


def test_every_route_is_in_the_docs() -> None:
    text = (Path(__file__).parents[3] / "docs/control-server.md").read_text()
    with serving(Run()) as server:
        paths = ask(server, "GET", "/openapi.json")[1]["paths"]
    missing = [path for path in paths if not path.startswith("/web/") and path.rpartition("/")[2] not in text]
    assert missing == []
