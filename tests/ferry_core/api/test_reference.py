from pathlib import Path

from ferry_core.api.reference import page
from ferry_core.checkpoint.state import FORMAT

DOCS = Path(__file__).parents[3] / "docs"


def test_the_committed_page_is_current() -> None:
    assert (DOCS / "reference.md").read_text() == page(), "run: python -m ferry_core.api.reference > docs/reference.md"


def test_the_page_names_fields_defaults_bounds_and_rules() -> None:
    text = page()
    assert "| `spec.cutover.maxLag` | duration | `1s` | from 100ms to 10m |" in text
    assert "| `spec.tables.rules[].where` | string |  | at most 4096 characters |" in text
    assert "| `spec.source.credentialsSecretRef.name`* |" in text
    assert "| `spec.cutover` | mode Scheduled needs notBefore" in text
    assert "| `(root)` | metadata.name may have at most 52 characters" in text


def test_the_page_of_releases_names_the_format_of_states() -> None:
    assert f"| {FORMAT} | 1 to {FORMAT} |" in (DOCS / "releases.md").read_text()
