"""``kubectl ferry`` as a person types it: kubectl finds the plugin in the PATH, as it was installed by pip."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.kube_api import KubeClient
from tests.support.waits import PATIENCE_SECONDS


class Plugin:
    """In one namespace."""

    def __init__(self, api: KubeClient, namespace: str) -> None:
        self._namespace = namespace
        self._kubectl = api.kubectl_path
        path = os.pathsep.join([str(Path(sys.executable).parent), str(api.kubectl_path.parent), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path, "KUBECONFIG": str(api.kubeconfig), "COLUMNS": "100"}

    def __call__(self, *arguments: str, code: int = 0, given: str = "", folder: Path | None = None) -> str:
        """Output and errors; fails for another exit code than ``code``."""
        line = self.line(*arguments)
        done = subprocess.run(
            line,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
            cwd=folder,
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, f"{line}: {done.returncode}: {said}"
        return said

    def line(self, *arguments: str) -> list[str]:
        return [str(self._kubectl), "ferry", *arguments, "-n", self._namespace]
