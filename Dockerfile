# One image for both: `ferry` (copiers) and `ferry-operator`. `make image` builds it without a registry, upon a base made
# of Debian packages; `docker build .` upon the public one.
# By digest: the same files for everybody and for good. `docker buildx imagetools inspect python:3.13-slim` shows a newer one.
ARG BASE=python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE} AS build
# Where a proxy signs with a CA of its own, its bundle is mounted and named by these.
ARG SSL_CERT_FILE
ARG PIP_CERT
ENV UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/ferry UV_NO_CACHE=1 UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
RUN ["python3", "-m", "venv", "/opt/uv"]
COPY hack/uv.txt /opt/uv/
RUN ["/opt/uv/bin/pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check", "--require-hashes", "-r", "/opt/uv/uv.txt"]
WORKDIR /src
COPY pyproject.toml uv.lock ./
# Exactly what uv.lock names, each file checked by its hash.
RUN ["/opt/uv/bin/uv", "sync", "--quiet", "--frozen", "--no-dev", "--extra", "operator", "--no-install-project"]
COPY README.md LICENSE ./
COPY ferry_core ferry_core
COPY operator operator
COPY kubectl_ferry kubectl_ferry
RUN ["/opt/uv/bin/uv", "sync", "--quiet", "--frozen", "--no-dev", "--extra", "operator", "--no-editable"]

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mysql-ferry" \
      org.opencontainers.image.description="Moves selected data from one live MySQL or MariaDB to another, with writes blocked for a moment" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/ferry /opt/ferry
# The root is read-only in a Pod: bytecode was compiled above.
ENV PATH=/opt/ferry/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 65532:65532
ENTRYPOINT ["ferry"]
