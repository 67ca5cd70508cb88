"""The operator's own port, as Prometheus and the kubelet ask it."""

import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families


class Probed:
    """An operator as others see it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> tuple[int, str]:
        """Status, 0 while nobody listens, and text."""
        try:
            with urllib.request.urlopen(self._url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except urllib.error.URLError:
            return 0, ""

    def series(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        code, text = self.get("/metrics")
        assert code == 200
        found = [each for family in text_string_to_metric_families(text) for each in family.samples]
        return {(each.name, frozenset(each.labels.items())): each.value for each in found}

    def value(self, name: str, **labels: str) -> float:
        """Over all series that have these labels."""
        wanted = set(labels.items())
        return sum(value for (each, said), value in self.series().items() if each == name and wanted <= said)
