# Two commands do all: `make demo` plays the main job, `make test` passes the tests.
TESTBED := .venv/bin/testbed

.PHONY: setup demo test test-pure nightly clean

setup:
	./setup.sh

# The prebuilt kernel first: its verdict needs no build. Then the three that are built, then the controls,
# without which no table is backed.
demo: setup
	$(TESTBED) run flood --controls \
		--kernel debian --kernel stock --kernel vanilla-2007 --kernel complete-rx

test: setup
	.venv/bin/ruff check testbed tests benchmarks
	.venv/bin/ruff format --check testbed tests benchmarks
	.venv/bin/mypy
	.venv/bin/pytest -m "not nightly" --durations=25

# Compiled tests are kept, also where the environment says not to: to compile them is a fifth of the time.
test-pure: setup
	PYTHONDONTWRITEBYTECODE= PYTEST_DEBUG_TEMPROOT=/dev/shm .venv/bin/pytest -p xdist.plugin -p no:logging -n auto --dist loadfile \
		--hypothesis-profile quick -o tmp_path_retention_policy=failed -m "not namespace and not vm and not browser and not agent and not programs and not nightly"

nightly: setup
	.venv/bin/pytest

clean:
	rm -rf .venv build *.egg-info
