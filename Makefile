# Everything a developer or a CI machine runs. On a bare Debian 12 (root, git, make, Python 3.11 or newer) each target
# sets up what it needs. `make` alone prints the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
CODE := ferry_core operator kubectl_ferry tests bench hack

.PHONY: help
help:  ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/.complete  ## make .venv with the ferry command and all tools in it

# The lock file says everything: the environment is made anew only when it changes.
.venv/.complete: uv.lock pyproject.toml hack/setup.sh
	@hack/setup.sh
	@touch $@

.PHONY: servers
servers: setup  ## install MySQL 9.7 and MariaDB 10.11 for the tests (a minute, once)
	@$(BIN)/python hack/servers.py install mysql mariadb

.PHONY: kubernetes
kubernetes: setup  ## build a whole Kubernetes for tests and demo (some minutes, once)
	@hack/kubernetes/build.sh >/dev/null
	@hack/kubernetes/etcd.sh >/dev/null

.PHONY: image
image:  ## build the image localhost/mysql-ferry:dev into an OCI archive under build/
	@hack/image.sh

.PHONY: check
check: setup  ## lint, format, types, layers, lock file, unused code and dependencies, the chart, the documentation
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports
	hack/uv.sh lock --check
	$(BIN)/vulture
	$(BIN)/deptry ferry_core operator/ferry_operator kubectl_ferry
	$(BIN)/python hack/chart.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

.PHONY: docs
docs: setup  ## the documentation as a site, under build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

.PHONY: format
format: setup  ## let ruff fix what it can
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

# Four at a time, each with servers of its own: most tests wait for a server, not for this program. Those on Kubernetes
# are done one after another, and begin when it is built: tests/support/scheduling.py.
PYTEST := $(BIN)/pytest -n 4 --durations=30 --durations-min=10

.PHONY: test
test: check  ## every check and every test, of slow ones a part of the cells; what .ci/run calls
	@rm -f .pytest_cache/v/cache/lastfailed
	@hack/kubernetes/etcd.sh >/dev/null
	$(PYTEST) --build-kubernetes --slice commit || $(BIN)/python hack/failed_alone.py $$?

.PHONY: test-all
test-all: check  ## every check and every test, with all cells of the slow ones
	@hack/kubernetes/etcd.sh >/dev/null
	$(PYTEST) --build-kubernetes

.PHONY: test-kubernetes
test-kubernetes: setup kubernetes  ## whole moves on a whole Kubernetes alone
	$(BIN)/pytest tests/e2e/kubernetes

.PHONY: test-slow
test-slow: setup  ## the slow tests alone: millions of rows, twenty kills, networks away for 20 s
	$(PYTEST) -m slow

.PHONY: verify-proof
verify-proof: setup  ## 1,000 changes behind the verification's back, and 100 passes without, under load, on each family (half an hour)
	VERIFY_ROUNDS=40 VERIFY_CLEAN=100 nice -n 10 $(BIN)/pytest tests/e2e/test_injections.py -n 0 -s

.PHONY: test-fast
test-fast: setup  ## tests for the daily loop: no whole moves, nothing slow
	$(PYTEST) -m "not slow" --ignore tests/e2e

.PHONY: test-versions
test-versions: setup  ## whole moves between releases of the servers; installs them first (10 min, 4 GB, once)
	$(BIN)/pytest -n 2 --versions tests/versions

# The commit or tag to upgrade from: this one has states of another format.
BEFORE ?= 8bf30ee^

.PHONY: test-upgrade
test-upgrade: setup kubernetes  ## upgrade CRD, operator and copiers of running Ferries from BEFORE, and take them back
	$(BIN)/pytest --before "$(BEFORE)" tests/upgrade

.PHONY: test-network
test-network: setup kubernetes  ## a move with NetworkPolicies in force, by kube-router; builds it first (some minutes, once)
	$(BIN)/pytest -n 0 --network tests/network

.PHONY: faults
faults: setup kubernetes  ## every fault of docs/faults.md at every moment, and every test that it names (some hours)
	$(BIN)/python -m tests.faults.page --named-tests > build/named_tests
	$(BIN)/pytest -n 3 tests/faults @build/named_tests

# How long; SEED=... of a round that failed replays it, FAMILY=mysql is only one of the two.
SECONDS ?= 600
.PHONY: torture
torture: setup  ## random faults on random tables under load for SECONDS, judged; SEED=... replays, a failure shrinks
	$(BIN)/python -m tests.torture --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(FAMILY),--family $(FAMILY)) \
	  $(if $(PLAN),--plan $(PLAN)) $(if $(COUNTERS),--counters $(COUNTERS))

.PHONY: fuzz
fuzz: setup  ## bytes of a hostile server, found by atheris: SECONDS for each of four targets
	@UV_PROJECT_ENVIRONMENT=build/fuzz-env UV_PYTHON=$(CURDIR)/$(BIN)/python hack/uv.sh sync --frozen --all-extras --group fuzz --quiet
	@build/fuzz-env/bin/python -m tests.fuzz $(SECONDS)

.PHONY: model
model: setup  ## explore the model of the rules in large bounds: some hours, 4 GiB, one process
	@nice -n 19 $(BIN)/python -m tests.model

.PHONY: demo
demo: setup  ## one move on a real Kubernetes; KUBECONFIG and IMAGE name one that is there
	@$(BIN)/python hack/demo/run.py

.PHONY: demo-down
demo-down: setup  ## take away what the demo made
	@$(BIN)/python hack/demo/down.py

.PHONY: demo-local
demo-local: setup  ## ferry live tables between two throwaway servers and prove both sides equal
	@$(BIN)/python hack/demo_local.py

.PHONY: bench
bench: setup  ## copy speed beside mysqldump and mydumper, on the same data
	@$(BIN)/python bench/run.py

.PHONY: bench-tables
bench-tables: setup  ## what hundreds of small tables cost: the check, their foreign keys, the write block
	@$(BIN)/python bench/many_tables.py

.PHONY: bench-indexes
bench-indexes: setup  ## a copy with five secondary indexes: deferred, and created with the table
	@$(BIN)/python bench/indexes.py

.PHONY: bench-block
bench-block: setup  ## for how long the cutover of 100,000 and of 10,000,000 rows blocks writes
	@$(BIN)/python bench/write_block.py

.PHONY: bench-fleet
bench-fleet: kubernetes  ## what 1,000 Ferries cost the operator, and how soon a patch reaches a copier
	@$(BIN)/python bench/fleet.py

# Where dist/ will be published: the manifest for krew names it.
DOWNLOADS ?= https://example.invalid/mysql-ferry

.PHONY: release
release: setup  ## wheel, image, chart, CRDs, kubectl plugin, checksums and SBOM under dist/ (DOWNLOADS: their URL)
	@$(BIN)/python hack/release.py make $(DOWNLOADS)

.PHONY: version
version: setup  ## write the version NEW=1.2.3 wherever it stands
	@$(BIN)/python hack/release.py version $(NEW)

.PHONY: clean
clean:  ## remove what the targets have made in this folder
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
