# make demo: environment, demo cohort, all stages, report.   make test: environment, test tools, all tests.
# make test-fast: what to run at each save, under a minute: the library and the scripts, without tests that are marked slow.
# make coverage: all tests, and which lines of scripts/ they run; the programs that tests start count, too.
# make bench: speed and memory as ratios, coverage of intervals, minutes long; not part of the tests.
# make test-long: odd places and names, precomputed features, no network, a toy problem with the defaults, killed runs; 10 minutes.
# make test-hostile: thousands of damaged files, hundreds of races, kill -9 at random moments; seeds are printed, 20 to 30 minutes.
# make test-slurm: every fault that a cluster can bring, on a real SLURM, 10 to 20 minutes; make test has the first jobs alone.
# make check-slurm CONFIG=my_study.yaml: what the study asks for against what this cluster gives.
# make doctor CONFIG=my_study.yaml: this machine and environment, a line each; paste it into a bug report.
# make docs: the tables of config/README.md from the schema, then the site of docs/, which is read without a network.
# make test-docs: run the commands of the documentation, as far as they need no cluster; minutes long.
# make checks: figures of the demo cohort against their goals, and shuffled labels, minutes long; not part of the tests.
# Three workers for two cores (four took longer): a test that waits for SLURM or a browser leaves its core to another.
# The programs are started as modules: the first line of bin/pytest has the path of the checkout, unquoted for a shell.
PYTHON ?= python3
BIN := .venv/bin
LONG := tests/unit/features/test_weights.py tests/unit/features/test_networks.py tests/unit/mil/test_gpu_bench.py

.PHONY: demo doctor docs test test-fast test-docs test-long coverage test-hostile test-slurm check-slurm bench checks lint format clean-demo

demo: .venv/.run
	SNAKEMAKE_PROFILE=profiles/local $(BIN)/python -m snakemake --configfile config/demo.yaml

doctor: # the environment may be absent or broken
	@$(or $(wildcard $(BIN)/python),$(PYTHON)) scripts/doctor.py $(if $(CONFIG),--configfile $(CONFIG))

docs: .venv/.docs
	$(BIN)/python docs/reference.py
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

test: .venv/.test
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# A test that is listed at the end takes seconds: mark it slow.
test-fast: .venv/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal -q -m "not slow and not long" --durations=10 --durations-min=2 tests/unit

coverage: .venv/.test
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -n 3 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

test-long: .venv/.test
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m long --ignore tests/workflow/test_docs.py tests/workflow $(LONG)

test-hostile: .venv/.test
	$(BIN)/python -m pytest -m "long or not long" -s --durations=0 tests/hostile tests/workflow/test_killed.py
	$(BIN)/python -m pytest -m long -s --durations=0 tests/unit

test-slurm: .venv/.test
	$(BIN)/python -m pytest -m "long or not long" --durations=0 tests/slurm

test-docs: .venv/.test
	$(BIN)/python -m pytest -m "long or not long" --durations=0 tests/workflow/test_docs.py

check-slurm: .venv/.run
	$(BIN)/python scripts/check_slurm.py $(if $(CONFIG),--configfile $(CONFIG))

bench: .venv/.test
	$(BIN)/python bench/inventory.py
	$(BIN)/python bench/embed.py
	$(BIN)/python bench/train.py
	$(BIN)/python bench/members.py
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/scale.py
	$(BIN)/python bench/faithfulness.py
	$(BIN)/python bench/study.py
	$(BIN)/python bench/attention.py
	$(BIN)/python bench/report.py
	$(BIN)/python bench/browser.py
	$(BIN)/python bench/coverage.py

checks: .venv/.run
	$(BIN)/python bench/checks.py

lint: .venv/.test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m snakefmt --check Snakefile rules
	$(BIN)/python -m snakemake --lint --configfile config/demo.yaml

format: .venv/.test
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .
	$(BIN)/python -m snakefmt Snakefile rules

clean-demo:
	rm -rf results/demo resources/demo

.venv/.run: requirements.txt constraints.txt
	$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit("Python 3.11, 3.12 or 3.13 is needed, this is %d.%d: make PYTHON=python3.13 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	touch $@

.venv/.docs: .venv/.run requirements-docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt -c constraints.txt
	touch $@

.venv/.test: .venv/.run requirements-dev.txt requirements-docs.txt requirements-timm.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	touch $@
