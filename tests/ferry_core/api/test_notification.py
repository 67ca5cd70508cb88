from pathlib import Path

import pytest
from pydantic import ValidationError

from ferry_core.api.notification import Notification, schema

DOCS = Path(__file__).parents[3] / "docs"


def test_the_committed_schema_is_current() -> None:
    text = (DOCS / "notification.schema.json").read_text()
    assert text == schema(), "run: python -m ferry_core.api.notification > docs/notification.schema.json"


def test_progress_is_sent_only_on_request() -> None:
    assert [str(each) for each in Notification(url="https://a.example/b").events] == [
        "StageChanged",
        "Attempt",
        "Error",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example",
        "https://",
        "https:///path",
        "https://a.example:port/",
        "https://user:secret@a.example/",
        "http://[",
    ],
)
def test_a_url_that_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Notification(url=url)
    assert "secret" not in str(caught.value.errors()[0]["msg"])
