"""The schemas of ``list.yaml``: where each comes from, and its text, which is fetched into the cache folder.

``python -m hack.schemas`` calls it. The texts belong to their projects and are not copied into this repository.
"""

import gzip
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from hack.installing import cache_folder

_LIST = Path(__file__).with_name("list.yaml")


class NotFetched(Exception):
    """A schema's text is not there, and how to get it."""


@dataclass(frozen=True)
class Source:
    """One entry of the list."""

    name: str
    is_: str
    schema: str
    debian: str = ""
    maven: tuple[str, ...] = ()
    pypi: str = ""
    repository: str = ""
    path: str = ""
    commit: str = ""
    files: tuple[str, ...] = ()
    replace: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def origin(self) -> str:
        """For the table: the package and its version, or the repository and the commit."""
        if self.repository:
            return f"{self.repository} {self.path} {self.commit[:12]}"
        if self.debian:
            return self._text_file.with_suffix(".origin").read_text()
        if self.pypi:
            return f"PyPI {self.pypi}"
        more = f" and {len(self.maven) - 1} more artifacts" if self.maven[1:] else ""
        return f"Maven {self.maven[0]}{more}"

    @property
    def _text_file(self) -> Path:
        folder = cache_folder() / "schemas"
        folder.mkdir(exist_ok=True)
        return folder / f"{self.name}.sql"

    def text(self) -> str:
        """Its SQL, fetched if it is not there."""
        if not self._text_file.exists():
            self._fetch()
        text = self._text_file.read_text(encoding="utf-8", errors="replace")
        for old, new in self.replace.items():
            text = text.replace(old, new)
        return text

    def _fetch(self) -> None:
        if self.repository:
            where = f"{self.path} of {self.repository} at {self.commit}"
            raise NotFetched(f"{self.name}: put the text of {where} into {self._text_file}")
        with tempfile.TemporaryDirectory(prefix="ferry-schemas-") as name:
            folder = Path(name)
            if self.pypi:
                _unpack_pypi(self.pypi, folder)
            elif self.debian:
                self._text_file.with_suffix(".origin").write_text(_unpack_debian(self.debian, folder))
            else:
                for artifact in self.maven:
                    _unpack_maven(artifact, folder)
            found = [path for pattern in self.files for path in sorted(folder.glob(pattern))]
            if not found:
                where = self.debian or self.pypi or ", ".join(self.maven)
                raise NotFetched(f"{self.name}: none of {', '.join(self.files)} is in {where}")
            self._text_file.write_text("\n".join(_read(path) for path in found), encoding="utf-8")


def _read(path: Path) -> str:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return content.decode("utf-8", errors="replace")


def _unpack_debian(package: str, folder: Path) -> str:
    """Returns name and version."""
    subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True, capture_output=True)
    (archive,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True)
    shown = subprocess.run(["dpkg-deb", "-f", str(archive), "Version"], check=True, capture_output=True, text=True)
    return f"Debian {package} {shown.stdout.strip()}"


def _unpack_maven(artifact: str, folder: Path) -> None:
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    subprocess.run(
        ["mvn", "-q", goal, f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    _, name, version = artifact.split(":")
    with zipfile.ZipFile(folder / f"{name}-{version}.jar") as archive:
        archive.extractall(folder, [member for member in archive.namelist() if member.endswith(".sql")])


def _unpack_pypi(requirement: str, folder: Path) -> None:
    command = ["pip", "download", "-q", "--no-deps", "--only-binary", ":all:", requirement]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [member for member in archive.namelist() if member.endswith(".sql")])


def listed() -> dict[str, Source]:
    """Every schema by its name."""
    found = {}
    for entry in yaml.safe_load(_LIST.read_text()):
        entry["is_"] = entry.pop("is")
        entry["maven"] = tuple(entry.get("maven", "").split())
        entry["files"] = tuple(entry.get("files", ()))
        found[entry["name"]] = Source(**({"schema": f"t_{entry['name'].replace('-', '_')}"} | entry))
    return found
