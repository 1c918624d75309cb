# make demo | make test | make lint | make install. PYTHON=, PORT= and HOST= can be given on the command line, and for
# the demo SHARE=1 (a public link), LOGIN=name:password, MCP=1 (tools for language models). LOCKED=1 sets up .venv with
# the very files that requirements.lock lists, as CI does.
PYTHON ?= python3
PORT ?= 7860
HOST ?= 127.0.0.1
VENV := .venv
JOBS ?= auto
BIN := $(VENV)/bin
# Those that requirements.lock pins; others are tested apart.
EXTRAS := demo export heif photos dev
INSTALLED := $(VENV)/.installed$(if $(LOCKED),-locked)

.PHONY: install lock audit demo test test-browser test-page test-proofs test-slow test-extras lint format web web-serve \
	study examples screenshots space bench bench-export bench-sustained bench-bundle bench-batch bench-neighbours \
	bench-large bench-regions gpu soak load load-workers clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml Makefile $(if $(LOCKED),requirements.lock)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "stylecore needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "Python's venv module is missing: install it (Debian: apt-get install python3-venv)." >&2; exit 1; }
ifdef LOCKED
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
else
	$(BIN)/python -m pip install --quiet --editable '.[demo,export,photos,heif,dev]'
endif
	@rm -f $(VENV)/.installed*
	@touch $@

lock: install  # pin what pyproject.toml asks for, keeping versions that still fit; UPGRADE=1: the newest
	$(BIN)/uv pip compile pyproject.toml $(addprefix --extra ,$(EXTRAS)) --group build --universal --generate-hashes --quiet \
		--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade) --output-file requirements.lock

audit: install  # compare what requirements.lock pins with the known holes
	$(BIN)/uv tool run pip-audit --requirement requirements.lock --require-hashes --disable-pip --strict

demo: install
	$(BIN)/python -m demo --port $(PORT) --host $(HOST) $(if $(SHARE),--share) $(if $(LOGIN),--login $(LOGIN)) $(if $(MCP),--mcp)

test: install  # side by side, one thread each (JOBS=1: one after the other); then the page, which people wait for
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadgroup -m "not slow and not browser"
	$(BIN)/python -m pytest -m "browser and not slow"

test-browser: install  # the tests that drive the page in Chromium
	$(BIN)/python -m pytest -m "browser and not slow"

test-page: install  # the page's longer proofs in Chromium
	$(BIN)/python -m pytest -m "browser and slow"

test-proofs: install  # the longer proofs: losses in tiles, masks, peak memory, workers that are killed
	$(BIN)/python -m pytest -m slow tests/test_tiles.py tests/test_regions.py tests/test_masks.py tests/test_memory.py \
		tests/test_large.py tests/batch tests/test_demo_workers.py

test-slow: install  # proofs that take minutes: whole presets on real images, installs in empty environments
	$(BIN)/python -m pytest -m slow

test-extras: install  # what is apart from the lock: OpenVINO, onnxruntime-web by npm, Ray, video, and LiteRT
	$(BIN)/python -m venv .venv-extras
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')')" \
		> $$(.venv-extras/bin/python -c 'import site; print(site.getsitepackages()[0])')/base.pth
	.venv-extras/bin/python -m pip install --quiet 'openvino>=2025.0' 'ray>=2.54' 'av>=14' 'opencv-python-headless>=4.10'
	.venv-extras/bin/python -m pytest tests/test_film.py tests/test_flow.py tests/test_video.py
	npm install --silent --no-save --no-package-lock onnxruntime-web
	.venv-extras/bin/python -m pytest tests/export/test_runtimes.py tests/batch/test_ray.py tests/test_demo_ray.py
	$(BIN)/python -m venv .venv-litert
	.venv-litert/bin/python -m pip install --quiet --editable '.[export,litert,dev]'
	.venv-litert/bin/python -m pytest tests/export/test_runtimes.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

web: install  # the page that stylizes in any browser, into build/web; web-serve: on this machine, at PORT
	mkdir -p build
	$(BIN)/python -m export web -o build/web

web-serve: web
	$(BIN)/python -m http.server --directory build/web --bind $(HOST) $(PORT)

study: install  # measure everything that docs/study.md says, two hours and a half; finished parts are not run again
	$(BIN)/python -m studies
	$(BIN)/python -m tools.copy_study

examples: install  # draw the style pictures again
	$(BIN)/python examples/draw_styles.py

screenshots: install  # the demo's tabs after real runs, for docs/; look at them before you commit
	$(BIN)/python -m tools.screenshots

space: install  # push the last commit to a Hugging Face Space: make space SPACE=you/stylecore
	$(BIN)/python -m tools.push_space $(SPACE)

bench: install  # presets against the reference, for docs/: an hour or more on a quiet machine
	mkdir -p docs/benchmarks/512
	$(BIN)/stylecore bench --presets draft,preview,standard --json docs/benchmarks/bench.json
	$(BIN)/stylecore bench --quick --presets draft,preview,standard --size 512 --pairs rocket:woodblock_waves \
		--json docs/benchmarks/512/bench.json

bench-export: install  # time every variant of the extractor beside its error, for docs/; QUICK=--quick: minutes
	mkdir -p docs/benchmarks/export
	$(BIN)/stylecore export bench --all $(QUICK) -o docs/benchmarks/export

bench-sustained: install  # the extractor in bytes for ten minutes without a pause, for docs/
	mkdir -p docs/benchmarks/export/sustained build
	$(BIN)/stylecore export extractor -o build/vgg16-int8.onnx --precision int8
	$(BIN)/stylecore export bench build/vgg16-int8.onnx --quick --threads 2 --sustained 10 -o docs/benchmarks/export/sustained

bench-bundle: install  # the bundle beside torch with the same recipe, for docs/: five minutes on a quiet machine
	mkdir -p docs/benchmarks/export
	$(BIN)/python -m benchmarks.bundle

bench-batch: install  # what a batch takes beside its engine's seconds, for docs/: five minutes on a quiet machine
	$(BIN)/python -m benchmarks.batch

bench-neighbours: install  # a job beside other programs on the same cores, for docs/: ten minutes on a quiet machine
	$(BIN)/python -m benchmarks.neighbours

bench-large: install  # 4096 px in 8 GiB and a sheet of 256 to 2048 px, for docs/: an hour; bench-regions: minutes
	$(BIN)/python -m benchmarks.large

bench-regions: install
	$(BIN)/python -m benchmarks.regions

gpu: install  # all that a GPU has to prove: tests, parity, bench, memory; for docs/: ten minutes on a large card
	$(BIN)/python -m benchmarks.gpu $(ARGS)

soak: install  # 200 jobs in one process: memory and files that stay, for docs/
	$(BIN)/python -m benchmarks.soak -o docs/security/soak.json

load: install  # 50 visitors for three minutes on a server of its own, which is then killed, for docs/
	$(BIN)/python -m benchmarks.load -o docs/security/load.json

load-workers: install  # eight visitors at one worker, at two, and at two that are killed, for docs/: five minutes
	$(BIN)/python -m benchmarks.workers

clean:
	rm -rf $(VENV) build dist stylecore.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
