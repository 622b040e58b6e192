# `make demo` and `make test` need only Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
# The matched pair that is known to work. For a CPU-only build (much smaller):
#   make demo TORCH="torch torchvision --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.14.1 torchvision==0.29.1
# `make test LOCKED=1` installs the versions and checksums of tests/requirements.txt.
LOCKED ?=
BIN = $(VENV)/bin
DEMO = $(BIN)/initpools

# Where `make laptop-study` finds its data sets, which initpools_cli/bench/suites/laptop.toml lists.
DATA ?= data

.PHONY: demo docs figures gallery picture test test-all test-browser test-exports faults coverage mutants lint clean paper pitfalls grid laptop-study laptop-sweeps \
  semi-supervised-study fuzz requirements audit package

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(if $(LOCKED),$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement tests/requirements.txt)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: $(VENV)/.installed
	$(DEMO) pretrain simclr --dataset digits --config configs/demo.toml
	$(DEMO) embed
	$(DEMO) score simclr -o runs/losses.npy
	$(DEMO) select-pool typiclust --budget 20 -o runs/pool.csv
	$(DEMO) al-run --init random,typiclust --query random,margin --budget 10 --rounds 5 --seeds 10
	$(DEMO) rank consistency -o runs/sorted_idx.npy
	$(DEMO) plot histogram
	$(DEMO) plot scatter
	$(DEMO) plot scores
	$(DEMO) plot curves -o runs/curves.html
	@echo "Everything the run has is on one page, to be opened in a browser:"
	@$(DEMO) plot report -o runs/report.html

gallery: $(VENV)/.installed
	$(BIN)/python docs/gallery.py runs/gallery

# Every step that is done already is found done.
laptop-sweeps: $(VENV)/.installed
	$(DEMO) bench --suite laptop --data $(DATA) -o runs/laptop

laptop-study: laptop-sweeps
	$(BIN)/python docs/results.py --suite laptop --dir runs/laptop --readme README.md
	$(BIN)/python benchmarks/regret.py laptop runs/laptop
	$(BIN)/python docs/generate.py

# All strategies that need nothing labeled, on the encoders of `make laptop-study` and two more seeds of SimCLR.
grid: $(VENV)/.installed
	$(DEMO) bench --suite grid --data $(DATA) -o runs/laptop
	$(BIN)/python benchmarks/leaderboard.py runs/laptop/grid.parquet
	$(BIN)/python docs/generate.py

# First pools under semi-supervised learners, on the encoders and embeddings of `make laptop-study`.
SEMI = sign-digits mnist-12k cifar10-12k
SEMI_BUDGETS = 10 20 50 100
SEMI_ENCODERS = simclr efficientnet-lite0
semi-supervised-study: laptop-sweeps
	for data in $(SEMI); do for first in $(SEMI_BUDGETS); do for encoder in $(SEMI_ENCODERS); do \
	  $(DEMO) al-run --run runs/laptop/$$data --config configs/semi-supervised/$$data.toml --from $$encoder \
	    --budget $$first --name semi-$$encoder-$$first || exit; \
	done; done; done
	$(DEMO) al-run --run runs/laptop/mnist-12k --config configs/semi-supervised/flexmatch.toml --from simclr --name semi-flexmatch
	$(BIN)/python docs/semi_supervised.py --runs $(SEMI:%=runs/laptop/%) --sweeps semi-flexmatch \
	  $(foreach encoder,$(SEMI_ENCODERS),$(SEMI_BUDGETS:%=semi-$(encoder)-%))

# configs/paper and configs/coldstart; SIZE=small: small networks, and a tenth of the images and labels.
SIZE ?= full
paper: $(VENV)/.installed
	$(BIN)/python benchmarks/paper.py --size $(SIZE) --data $(DATA)

# The pitfalls of evaluations of active learning; cifar10-12k.npz in DATA.
PITFALLS = $(DEMO) al-run --run runs/pitfalls
UNTUNED = recipe=none lr=0.0003 weight_decay=0 dropout=0
pitfalls: $(VENV)/.installed
	$(DEMO) embed efficientnet-lite0 --run runs/pitfalls/cifar10 --dataset $(DATA)/cifar10-12k.npz
	$(DEMO) embed efficientnet-lite0 --run runs/pitfalls/cifar10-lt --dataset $(DATA)/cifar10-12k.npz \
	  --set dataset.imbalance=exp --set dataset.ratio=0.02
	$(DEMO) pretrain simclr --run runs/pitfalls/digits --dataset digits --set pretrain.network=convnet --epochs 40
	$(PITFALLS)/cifar10 --config configs/pitfalls/class-distribution.toml --name balanced
	$(PITFALLS)/cifar10-lt --config configs/pitfalls/class-distribution.toml --name long-tail
	for size in 10 100 500; do \
	  $(PITFALLS)/cifar10 --config configs/pitfalls/start-budget.toml --init-budget $$size --name start-$$size || exit; \
	done
	for batch in 10 40 160; do \
	  $(PITFALLS)/cifar10 --config configs/pitfalls/query-size.toml --budget $$batch --rounds $$((160 / $$batch)) \
	    --name batch-$$batch || exit; \
	done
	$(PITFALLS)/digits --config configs/pitfalls/tuning.toml --name tuned
	$(PITFALLS)/digits --config configs/pitfalls/tuning.toml $(UNTUNED:%=--set al.params.scratch.%) --name untuned
	$(PITFALLS)/digits --config configs/pitfalls/training-paradigm.toml --set al.params.scratch.width=0.5 \
	  --set al.params.scratch.steps=100 --name scratch
	$(PITFALLS)/digits --config configs/pitfalls/training-paradigm.toml --learner finetune \
	  --set al.params.finetune.steps=100 --from simclr --name finetune
	for learner in linear label-spreading; do \
	  $(PITFALLS)/digits --config configs/pitfalls/training-paradigm.toml --learner $$learner --from simclr \
	    --name $$learner || exit; \
	done
	$(BIN)/python benchmarks/pitfalls.py runs/pitfalls
	$(BIN)/python docs/generate.py

# Two processes at a time; a file stays with one, for what its tests share, and tests/conftest.py says which come first.
TWO = -n 2 --dist loadfile --no-loadscope-reorder
test: $(VENV)/.installed lint
	$(BIN)/python -m pytest $(TWO)

# With the tests that are marked slow.
test-all: $(VENV)/.installed lint
	$(BIN)/python -m pytest -m "not browser and not exports" $(TWO)

# What the tests execute of the packages in [tool.coverage.run], and that it is enough.
coverage: $(VENV)/.installed
	mkdir -p build
	$(BIN)/python -m pytest $(TWO) --cov --cov-context=test --cov-report= --junitxml=build/tests.xml
	$(BIN)/coverage report --skip-covered --show-missing
	$(BIN)/coverage json --quiet -o build/coverage.json
	$(BIN)/python tests/check_coverage.py build/coverage.json

# Small changes of the code that the tests should notice (an hour or more); a changed file begins its rows anew.
MUTANTS ?= 400
mutants: coverage
	$(BIN)/python benchmarks/mutants.py $(MUTANTS)

$(VENV)/.browser: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[browser]"
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

# The site, in build/site, which makes no requests to other hosts: `python -m http.server -d build/site`.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Figures and screenshots that take minutes; the learning curves of docs/results.md are drawn by `make laptop-study`.
figures: demo picture
	$(BIN)/python docs/strategies.py
	$(BIN)/python benchmarks/growth.py --draw

# Those of the README and of the page on plots, from the demo run.
picture: $(VENV)/.browser
	$(BIN)/python docs/picture.py
	$(BIN)/python docs/report_picture.py

# Where no Chrome or Chromium is found, every test is skipped and says why.
test-browser: $(VENV)/.browser
	$(BIN)/python -m pytest -m browser -rs -n 2 --dist worksteal tests/browser

# Libraries that read exports, in an environment of their own. Where one can't be installed, its tests are skipped.
READERS = datasets fiftyone datumaro label-studio-sdk torchvision ultralytics
$(VENV)-exports/.installed: Makefile
	$(PYTHON) -m venv $(VENV)-exports
	for library in $(READERS); do \
	  $(VENV)-exports/bin/python -m pip install --quiet $$library || echo "$$library can't be installed"; \
	done
	touch $@

test-exports: $(VENV)/.installed $(VENV)-exports/.installed
	INITPOOLS_READER=$(abspath $(VENV)-exports)/bin/python $(BIN)/python -m pytest -m exports -rs tests/exports

# One part of at most 90 minutes; run it again until it says that all is done. Only what failed is tried again. Where
# there is a file system in memory, some tries are made on it, too.
FAULTS ?=
TRY_FAULTS = $(BIN)/python -m tests.faults --state runs/faults --minutes 90 -o benchmarks/results/faults.csv
faults: $(VENV)/.installed
	$(TRY_FAULTS) $(FAULTS)
	test ! -d /dev/shm || $(TRY_FAULTS) --place /dev/shm --each 2 $(FAULTS)

# Every reader of files, with inputs near to good ones; those that break one are kept in tests/bad_input/corpus.
FUZZ_SECONDS ?= 600
fuzz: $(VENV)/.installed
	$(BIN)/python tests/bad_input/fuzz.py $(FUZZ_SECONDS)

$(VENV)-tools/.installed: Makefile
	$(PYTHON) -m venv $(VENV)-tools
	$(VENV)-tools/bin/python -m pip install --quiet bandit build pip-audit uv
	touch $@

# The versions in $(VENV) with the checksums that PyPI has, for Linux on x86-64. Without torch, whose builds for processors
# alone are not on PyPI, and what only it needs.
requirements: $(VENV)/.installed $(VENV)-tools/.installed
	mkdir -p build
	$(BIN)/python -m pip freeze --exclude-editable | grep == > build/installed.txt
	$(VENV)-tools/bin/uv pip compile pyproject.toml --extra dev --constraints build/installed.txt --generate-hashes \
	  --python-platform x86_64-unknown-linux-gnu --python-version 3.11 --no-header --no-annotate --quiet \
	  --output-file build/requirements.txt
	(echo "# Made by \`make requirements\`; \`make test LOCKED=1\` installs it after torch."; awk '/^[a-z]/ \
	  { keep = $$0 !~ /^(torch|torchvision|triton|nvidia-.*|cuda-.*)==/ } keep' build/requirements.txt) \
	  > tests/requirements.txt

# Patterns of our own code that may be unsafe, which must be none; and known vulnerabilities of the packages in
# tests/requirements.txt, which are printed.
audit: $(VENV)-tools/.installed
	$(VENV)-tools/bin/bandit --quiet --recursive initpools_cli --configfile pyproject.toml 2> /dev/null
	@timeout 60 $(VENV)-tools/bin/pip-audit --requirement tests/requirements.txt --no-deps --disable-pip \
	  --progress-spinner off --format json 2> /dev/null | $(PYTHON) tests/audit.py

# The sdist, the wheel that is built from it, and commands of the wheel in an environment of its own, which has only the
# packages of $(VENV) besides.
CLEAN = build/clean
SITE = import sysconfig; print(sysconfig.get_path('purelib'))
package: $(VENV)/.installed $(VENV)-tools/.installed
	rm -rf build/dist $(CLEAN) && mkdir -p build/dist
	$(VENV)-tools/bin/python -m build --outdir build/dist . > build/package.log || (cat build/package.log; exit 1)
	$(PYTHON) -m venv --without-pip $(CLEAN)
	$(BIN)/python -m pip --python $(CLEAN)/bin/python install --quiet --no-deps --no-index build/dist/*.whl
	$(BIN)/python -c "$(SITE)" > $$($(CLEAN)/bin/python -c "$(SITE)")/dependencies.pth
	cd $(CLEAN) && INITPOOLS_DATA=$$PWD/data PATH=$$PWD/bin:$$PATH sh $(CURDIR)/tests/package.sh

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(VENV)-tools build *.egg-info
