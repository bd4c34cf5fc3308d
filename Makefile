# Signet. `make run` tries it, `make test` proves it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:

.PHONY: run test check thorough storm chaos size security pages pictures sbom messages lock clean

run: $(VENV)/.runtime
	@$(BIN)/python -m portal.dev_server

# Lint, types, templates, then every test; a browser is looked for and installed where that is possible.
test: $(VENV)/.development
	@sh tests/browser.sh
	@sh tests/interop.sh
	@sh tests/postgresql.sh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/djlint templates --lint --check
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest -m slow tests/smtp tests/security tests/outbox tests/jobs tests/backup tests/audit tests/web tests/db tests/accounts/test_rights.py tests/accounts/test_proof.py tests/accounts/test_login.py tests/accounts/test_second_factor.py tests/test_*.py
	$(BIN)/python -m pytest -m thorough tests/outbox/test_crashes.py tests/outbox/test_worker.py
	$(BIN)/python -m pytest -m "on_postgresql and not slow" --database=postgresql --few-parameters --ignore=tests/storm tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --few-parameters tests/interop tests/journeys

check: $(VENV)/.development
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/djlint templates --lint --check
	$(BIN)/python -m pytest -n0 -m 'not thorough' tests/test_architecture.py tests/test_words.py

# All other tests, on both databases: what is slow, workers killed at each important line, a short storm, a short chaos.
thorough: $(VENV)/.development
	@sh tests/browser.sh
	@sh tests/interop.sh
	@sh tests/postgresql.sh
	$(BIN)/python -m pytest -n 2 -m "slow or thorough"
	$(BIN)/python -m pytest -n 2 -m thorough --database=postgresql tests/outbox
	$(BIN)/python -m pytest -m "not thorough" --database=postgresql tests/settings tests/operations tests/cli
	$(BIN)/python -m pytest -m on_postgresql --database=postgresql --ignore=tests/storm tests
	$(BIN)/python -m pytest -n 3 --dist loadfile -m "" tests/interop tests/journeys

# Kill workers and crash databases for some minutes and compare the mail servers' log with the tables.
storm: $(VENV)/.development
	@sh tests/postgresql.sh
	$(BIN)/python -m tests.storm

# Let mail servers fail and recover in turns while affiliates sign up, and compare the faults with the incidents.
chaos: $(VENV)/.development
	$(BIN)/python -m tests.chaos

# Compare a portal with one and with ten million messages on PostgreSQL, and measure the bloat of a million; fails where something
# takes more than twice as long or as much. About an hour.
size: $(VENV)/.development
	@sh tests/postgresql.sh
	$(BIN)/python -m benchmarks.size
	$(BIN)/python -m benchmarks.size_bloat

# Run every attack of tests/security and print what was measured; fails on any breach. About 20 minutes.
security: $(VENV)/.development
	@sh tests/postgresql.sh
	$(BIN)/python -m tests.security.report

# Check every page in a browser, in all widths, languages and ways to see it, with axe and Lighthouse. About 20 minutes.
pages: $(VENV)/.development
	@sh tests/browser.sh
	$(BIN)/python -m tests.page_report

# Take the screenshots of README and docs.
pictures: $(VENV)/.development
	@sh tests/browser.sh
	$(BIN)/python -m tests.page_report.pictures

# Write sbom.json, the software bill of materials of the locked packages, as CycloneDX.
sbom: $(VENV)/.development
	$(BIN)/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --output-reproducible --of JSON --output-file sbom.json

# Write the template of translations, bring the catalogues of all languages up to date with it, and compile them.
messages: $(VENV)/.development
	$(BIN)/python -m babel.messages.frontend -q extract -F babel.cfg -k _ -k lazy_gettext -k ngettext:1,2 --no-location --sort-output --omit-header -o portal/translations/messages.pot .
	for catalogue in portal/translations/*/LC_MESSAGES; do \
	  test ! -d $$catalogue || $(BIN)/python -m babel.messages.frontend -q update -N --ignore-obsolete --width 120 -i portal/translations/messages.pot -d portal/translations || exit 1; break; \
	done
	$(BIN)/python -m babel.messages.frontend -q compile -d portal/translations

# $(call require_python,PROGRAM): stop with one sentence unless this Python can run Signet.
require_python = @$(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  found="$$($(1) -c 'import sys; print("Python %d.%d" % sys.version_info[:2])' 2>/dev/null || echo "no Python")"; \
  echo "Signet needs Python 3.11 or newer, but $(1) is $$found. Install a newer one, remove the folder $(VENV), and name it: make $(firstword $(MAKECMDGOALS) run) PYTHON=python3.12" >&2; exit 1; }

$(VENV)/.runtime: requirements.txt
	$(call require_python,$(PYTHON))
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian: apt install python3-venv" >&2; exit 1; }
	$(call require_python,$(BIN)/python)
	@echo "Installing what Signet needs (once) ..."
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.development: $(VENV)/.runtime requirements-dev.txt
	@echo "Installing what the tests need (once) ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@

# Resolve the requirements anew, leaving out releases younger than a week. Needs uv.
lock:
	for name in requirements requirements-dev requirements-redis; do \
	  uv pip compile --universal --python-version 3.11 --generate-hashes --exclude-newer "7 days" --only-binary :all: \
	    --no-emit-index-url --custom-compile-command "make lock" --quiet --upgrade $$name.in --output-file $$name.txt; \
	done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
