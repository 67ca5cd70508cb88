"""From files to a Ferry with endpoints: reads, validates and resolves everything that needs no server.

Every mistake is one ConfigError that says where it is and how to fix it. Called by the CLI. The loaded value is passed
to preflight and to the run, which can reload credentials with it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from ferry_core.api.cutover import TokenRef
from ferry_core.api.notices import notices
from ferry_core.api.servers import CredentialsRef, Primary, Replica, Server, Tls
from ferry_core.api.spec import Ferry, token_refs
from ferry_core.errors import ConfigError, ServerRole
from ferry_core.manifest.documents import Document, read_documents
from ferry_core.manifest.secrets import SecretStore
from ferry_core.manifest.validation_errors import nearest, validation_error
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.tls import REQUIRING, TlsMaterial, client_context
from ferry_core.reasons import Reason


@dataclass(frozen=True)
class LoadedFerry:
    """A valid manifest. ``notices`` tell the user where a run does more or less than the manifest says."""

    ferry: Ferry
    source: Endpoint
    target: Endpoint
    notices: list[str] = field(default_factory=list)
    files: tuple[Path, ...] = ()
    secrets_dir: Path | None = None

    def reload_credentials(self) -> tuple[Endpoint, Endpoint]:
        """Read credentials and certificates of source and target again; the Ferry itself stays the same."""
        return _endpoints(self.ferry, self._current_secrets())

    @property
    def primary(self) -> Callable[[], Endpoint] | None:
        """If the source is a replica: gives its primary, with its current credentials and certificates."""
        if self.ferry.spec.source.primary is None:
            return None
        return lambda: _primary(self.ferry, self._current_secrets())

    def replicas(self) -> list[Endpoint]:
        """The replicas to watch, with their current credentials and certificates."""
        return _replicas(self.ferry, self._current_secrets())

    def token(self, ref: TokenRef) -> str:
        """The bearer token, from the current Secret."""
        return _token(ref, self._current_secrets())

    def _current_secrets(self) -> SecretStore:
        documents = [document for file in self.files for document in read_documents(file)]
        return _secrets(documents, self.ferry, self.secrets_dir)


def load(files: Sequence[Path], secrets_dir: Path | None = None, *, to_run: bool = True) -> LoadedFerry:
    """The one Ferry in ``files``, with the Secrets that it names from the files or from ``secrets_dir/<secret>/<key>``.

    ``to_run`` False is for ending a Ferry: a Secret that only a run needs must not prevent that.
    """
    if secrets_dir is not None and not secrets_dir.is_dir():
        raise ConfigError(Reason.SECRET_NOT_FOUND, f"--secrets-dir {secrets_dir} is not a folder; check the path")
    documents = [document for file in files for document in read_documents(file)]
    ferry = _validated(_the_ferry(documents, files))
    secrets = _secrets(documents, ferry, secrets_dir)
    source, target = _endpoints(ferry, secrets)
    if ferry.spec.source.primary is not None:
        _primary(ferry, secrets)  # refuses a Secret that is missing
    if to_run:
        _replicas(ferry, secrets)  # the same
        for ref in token_refs(ferry.spec):
            _token(ref, secrets)
    return LoadedFerry(ferry, source, target, notices(ferry), tuple(files), secrets_dir)


def _the_ferry(documents: list[Document], files: Sequence[Path]) -> Document:
    found = [document for document in documents if document.kind == "Ferry"]
    if len(found) == 1:
        return found[0]
    if found:
        places = "; ".join(document.where() for document in found)
        raise ConfigError(
            Reason.SEVERAL_FERRIES,
            f"{len(found)} Ferries in the files ({places}); a run moves one: remove the others",
        )
    for document in documents:
        if not document.kind:
            raise ConfigError(
                Reason.MISSING_FIELD, f"{document.where()}: kind is required; write kind: Ferry or Secret"
            )
    kinds = [document.kind for document in documents]
    hint = next((text for kind in kinds if kind != "Secret" and (text := nearest(kind, ["Ferry"]))), "")
    seen = f"only {', '.join(sorted(set(kinds)))}" if kinds else "nothing"
    names = ", ".join(str(file) for file in files)
    raise ConfigError(
        Reason.NO_FERRY,
        f"no document of kind Ferry in {names} (found {seen}); add one with apiVersion, kind, spec{hint}",
    )


def _validated(document: Document) -> Ferry:
    try:
        return Ferry.model_validate(document.data, by_alias=True, by_name=False)
    except ValidationError as error:
        raise validation_error(error, document) from error


def _secrets(documents: list[Document], ferry: Ferry, folder: Path | None) -> SecretStore:
    secrets = [document for document in documents if document.kind == "Secret"]
    return SecretStore(secrets, ferry.metadata.namespace, folder)


def _endpoints(ferry: Ferry, secrets: SecretStore) -> tuple[Endpoint, Endpoint]:
    source = _endpoint(ServerRole.SOURCE, _login(ServerRole.SOURCE, ferry.spec.source), secrets)
    return source, _endpoint(ServerRole.TARGET, _login(ServerRole.TARGET, ferry.spec.target), secrets)


def _primary(ferry: Ferry, secrets: SecretStore) -> Endpoint:
    primary = ferry.spec.source.primary
    assert primary is not None, "asked"
    login = _other_login(_login(ServerRole.SOURCE, ferry.spec.source), primary, "spec.source.primary")
    return _endpoint(ServerRole.PRIMARY, login, secrets)


def _replicas(ferry: Ferry, secrets: SecretStore) -> list[Endpoint]:
    """In the order of the spec, the source's first."""
    return [
        _endpoint(ServerRole.REPLICA, login, secrets)
        for role, server in ((ServerRole.SOURCE, ferry.spec.source), (ServerRole.TARGET, ferry.spec.target))
        for login in _replica_logins(role, server)
    ]


class _Login(NamedTuple):
    """How the spec names one server, and the fields that do so."""

    host: str
    port: int
    socket: str | None
    credentials: CredentialsRef
    credentials_field: str
    tls: Tls
    tls_field: str


def _login(role: ServerRole, server: Server) -> _Login:
    return _Login(
        host=server.host or "",
        port=server.port,
        socket=server.socket,
        credentials=server.credentials_secret_ref,
        credentials_field=f"spec.{role}.credentialsSecretRef",
        tls=server.tls,
        tls_field=f"spec.{role}.tls.secretRef",
    )


def _replica_logins(role: ServerRole, server: Server) -> Iterator[_Login]:
    for number, replica in enumerate(server.replicas):
        yield _other_login(_login(role, server), replica, f"spec.{role}.replicas[{number}]")


def _other_login(login: _Login, other: Replica | Primary, field: str) -> _Login:
    """What ``other`` does not say itself is as in ``login``."""
    login = login._replace(host=other.host or "", port=other.port, socket=other.socket)
    if other.credentials_secret_ref is not None:
        credentials = other.credentials_secret_ref
        login = login._replace(credentials=credentials, credentials_field=f"{field}.credentialsSecretRef")
    if other.tls is not None:
        login = login._replace(tls=other.tls, tls_field=f"{field}.tls.secretRef")
    return login


def _endpoint(role: ServerRole, login: _Login, secrets: SecretStore) -> Endpoint:
    credentials, asked_by = login.credentials, login.credentials_field
    return Endpoint(
        role=role,
        host=login.host,
        port=login.port,
        user=_word(secrets, credentials.name, credentials.username_key, asked_by, may_be_empty=False),
        password=_word(secrets, credentials.name, credentials.password_key, asked_by, may_be_empty=True),
        socket=login.socket,
        tls=None if login.socket else client_context(login.tls.mode, *_material(login, secrets)),
        tls_required=login.socket is None and login.tls.mode in REQUIRING,
        trusts_public_key=login.tls.allow_public_key_retrieval,
    )


def _token(ref: TokenRef, secrets: SecretStore) -> str:
    token = _word(secrets, ref.name, ref.key, "a tokenSecretRef", may_be_empty=False)
    if not (token.isascii() and token.isprintable()):
        where = f"key {ref.key} of Secret {ref.name} ({secrets.origin(ref.name)})"
        raise ConfigError(Reason.SECRET_INVALID, f"{where} is no token: only printable ASCII can be sent")
    return token


def _word(secrets: SecretStore, name: str, key: str, asked_by: str, *, may_be_empty: bool) -> str:
    raw = secrets.read(name, key, asked_by)
    # A trailing newline comes from echo or an editor and is not meant.
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    where = f"key {key} of Secret {name} ({secrets.origin(name)})"
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(Reason.SECRET_INVALID, f"{where} is not UTF-8 text; is it encoded twice?") from error
    if "\0" in text or "\n" in text:
        raise ConfigError(Reason.SECRET_INVALID, f"{where} has more than one line; keep one")
    if not text and not may_be_empty:
        raise ConfigError(Reason.SECRET_INVALID, f"{where} is empty; write the value there")
    return text


def _material(login: _Login, secrets: SecretStore) -> tuple[TlsMaterial, str]:
    ref = login.tls.secret_ref
    if ref is None:
        return TlsMaterial(), ""
    ca, certificate, key = (secrets.find(ref.name, name, login.tls_field) for name in ("ca.crt", "tls.crt", "tls.key"))
    return TlsMaterial(ca, certificate, key), f"Secret {ref.name} ({secrets.origin(ref.name)})"
