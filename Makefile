# The verbs of the project. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON := .venv/bin/python
CLUSTER := embedded
export CLUSTER
BENCH_DIR := build/bench

.PHONY: help demo test test-unit test-e2e test-extras lint format docs images crds lock run install \
        cluster-up cluster-down test-faults test-faults-long bench-library bench-scale bench-serving clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/ready  ## from nothing to a trained agent on a real Kubernetes
	@$(PYTHON) tools/demo.py

test: .venv/ready  ## lint, unit, chart and end-to-end tests on the embedded Kubernetes
	@$(PYTHON) tools/test.py

test-unit: .venv/ready  ## only the tests that need no cluster
	@$(PYTHON) -m pytest -q tests/unit

test-e2e: install  ## only the tests on the cluster, which stays up
	@$(PYTHON) -m pytest tests/chart tests/e2e

test-extras: .venv/ready  ## install each extra of environments of others, and train in it
	@$(PYTHON) tools/test_extras.py

lint: .venv/ready  ## ruff and mypy --strict
	@$(PYTHON) tools/lint.py

format: .venv/ready  ## format the sources
	@.venv/bin/ruff check --fix . && .venv/bin/ruff format .

images: .venv/ready  ## build the trainer's and the operator's image
	@$(PYTHON) images build

crds: .venv/ready  ## generate crds/ and the chart's copy from the models
	@$(PYTHON) -m lepton_operator.api.generate && $(PYTHON) charts sync

lock: .venv/ready  ## pin the newest allowed versions in requirements/
	@tools/lock

cluster-up: .venv/ready  ## start the embedded Kubernetes; kubeconfig in .cluster/kubeconfig
	@$(PYTHON) tests/cluster up

cluster-down:  ## stop it and leave nothing behind
	@python3 tests/cluster down

install: .venv/ready  ## cluster, images and the operator by Helm; also after a change of code
	@$(PYTHON) tools/install.py

run: .venv/ready  ## run the operator on this machine against the cluster, for development
	@$(PYTHON) tools/run_operator.py

clean: cluster-down  ## remove what the targets made, but for the caches outside the checkout
	@python3 tests/cluster down --purge
	@rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/ready: requirements/dev.txt requirements/bootstrap.txt pyproject.toml tools/setup
	@tools/setup $(MAKECMDGOALS)

test-faults: .venv/ready  ## the fault campaign, row by row: docs/reliability.md; TESTS= narrows it
	@$(PYTHON) tools/faults.py -m "not long" $(if $(TESTS),-k "$(TESTS)")

test-faults-long: .venv/ready  ## its long half: schedules at random, two minutes without an API server, churn
	@$(if $(TESTS),,$(PYTHON) -m pytest -q --hypothesis-profile=search tests/unit/reconcile/test_schedules.py)
	@$(PYTHON) tools/faults.py -m long $(if $(TESTS),-k "$(TESTS)")

bench-library: .venv/ready  ## the training library against its peers; PARTS=, SEEDS=, ONLY= narrow it
	@tools/bench_library $(if $(PARTS),--parts $(PARTS)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(ONLY),--only $(ONLY))

docs: .venv/ready  ## pictures and the table of environments, from the benchmark's runs
	@$(PYTHON) tools/gallery.py

bench-scale: .venv/ready  ## thousands of jobs beside plain Jobs; PARTS=, SIZES=, ROUNDS=, AMONG= narrow it, FULL=1 widens
	@$(PYTHON) tests/perf/scale $(if $(PARTS),--parts $(PARTS)) $(if $(SIZES),--sizes $(SIZES)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(AMONG),--among $(AMONG)) $(if $(FULL),--full)

# Named now so that their names are settled; each says so and fails until it does its work.
bench-serving:  ## not there yet
	@echo "make $@: not there yet; see CHANGELOG.md for what is planned" >&2; exit 1
