"""Finds the Secrets that a Ferry names: in the given files, or in a directory as a Pod mounts them.

Values never appear in a message or a repr. They are read again at each request, so that changed credentials take effect
at the next connection. Used by ``load``.
"""

import base64
import binascii
from pathlib import Path

from ferry_core.errors import ConfigError
from ferry_core.manifest.documents import Document, kind_of
from ferry_core.manifest.validation_errors import nearest
from ferry_core.reasons import Reason


class SecretStore:
    """Secrets given inline take precedence over files."""

    def __init__(self, documents: list[Document], namespace: str, folder: Path | None) -> None:
        self._folder = folder
        self._documents: dict[str, Document] = {}
        self._elsewhere: dict[str, str] = {}
        for document in documents:
            name = document.metadata.get("name")
            if not isinstance(name, str):
                raise _invalid(f"{document.where()}: a Secret without metadata.name; name it")
            its = document.metadata.get("namespace", namespace)
            if its != namespace:
                self._elsewhere[name] = str(its)
                continue
            if name in self._documents:
                raise _invalid(f"{document.where()}: Secret {name} is given twice; keep one")
            self._documents[name] = document

    def read(self, name: str, key: str, asked_by: str) -> bytes:
        """The value of a key that must exist; ``asked_by`` is the field of the spec that names the Secret."""
        value = self.find(name, key, asked_by)
        if value is not None:
            return value
        keys = self._keys(name)
        if not keys and name not in self._documents:
            # A Pod sees a missing optional Secret as an empty folder.
            raise ConfigError(
                Reason.SECRET_NOT_FOUND,
                f"Secret {name}, named by {asked_by}, does not exist or is empty ({self.origin(name)} has no files); "
                f"create it, with the key {key}",
            )
        # Not their names: a password written in a key's place would be shown.
        has = f"it has {len(keys)} other {'key' if len(keys) == 1 else 'keys'}" if keys else "it is empty"
        which = f"Secret {name} ({self.origin(name)}), named by {asked_by},"
        raise ConfigError(Reason.SECRET_KEY_NOT_FOUND, f"{which} has no key {key} ({has}); add it{nearest(key, keys)}")

    def find(self, name: str, key: str, asked_by: str) -> bytes | None:
        """The same, but None for a missing key. The Secret itself must exist."""
        document = self._documents.get(name)
        if document is not None:
            return _decoded(document, key)
        folder = self._folder / name if self._folder is not None else None
        if folder is None or not folder.is_dir():
            raise self._not_found(name, asked_by)
        try:
            return (folder / key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _invalid(f"{folder / key}: {error.strerror or error}; make it a readable file") from error

    def origin(self, name: str) -> str:
        """Where the Secret was found, for messages."""
        document = self._documents.get(name)
        return document.where() if document is not None else str((self._folder or Path()) / name)

    def _keys(self, name: str) -> list[str]:
        document = self._documents.get(name)
        if document is not None:
            return sorted({key for part in ("data", "stringData") for key in _mapping(document, part)})
        folder = (self._folder or Path()) / name
        # A kubelet's mount contains ..data and the like beside the keys.
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(".."))

    def _not_found(self, name: str, asked_by: str) -> ConfigError:
        looked = (
            f"and {self._folder / name} is not a folder"
            if self._folder is not None
            else "and no --secrets-dir is given"
        )
        known = list(self._documents)
        if self._folder is not None and self._folder.is_dir():
            known += [entry.name for entry in self._folder.iterdir() if entry.is_dir()]
        hint = nearest(name, known)
        if name in self._elsewhere:
            hint = f"; there is one in namespace {self._elsewhere[name]}, but the Ferry is in another"
        return ConfigError(
            Reason.SECRET_NOT_FOUND,
            f"Secret {name}, named by {asked_by}, is not in the given files {looked}; add it as a YAML document "
            f"(kind: Secret) or as files DIR/{name}/<key>{hint}",
        )


def _mapping(document: Document, part: str) -> dict[str, str]:
    values = document.data.get(part, {})
    if not isinstance(values, dict):
        raise _invalid(f"{document.where((part,))}: {part} of a Secret must be a mapping, not {kind_of(values)}")
    for key, value in values.items():
        if not isinstance(value, str):
            kind = "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else "no text"
            raise _invalid(f"{document.where((part, key))}: {part}.{key} is {kind}; write it in quotation marks")
    return {key: str(value) for key, value in values.items()}


def _decoded(document: Document, key: str) -> bytes | None:
    plain = _mapping(document, "stringData").get(key)
    if plain is not None:
        return plain.encode()
    coded = _mapping(document, "data").get(key)
    if coded is None:
        return None
    try:
        return base64.b64decode("".join(coded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid(
            f"{document.where(('data', key))}: data.{key} is not valid base64; "
            "encode it, or write the plain text under stringData"
        ) from error


def _invalid(problem: str) -> ConfigError:
    return ConfigError(Reason.SECRET_INVALID, problem)
