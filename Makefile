# `make demo` and `make test` need only Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
# The matched pair that is known to work. For a CPU-only build (much smaller):
#   make demo TORCH="torch torchvision --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.14.1 torchvision==0.29.1
BIN = $(VENV)/bin
DEMO = $(BIN)/initpools

# Where `make laptop-study` finds pathmnist-mini.npz, cifar10-12k.npz and mnist.npz, in MedMNIST's layout.
DATA ?= data
STUDY = pathmnist-mini cifar10-12k mnist
FIRST_POOLS = 10 20 50 100

.PHONY: demo gallery picture test test-all test-browser lint clean laptop-study $(STUDY:%=study-%)

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
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

laptop-study: $(STUDY:%=study-%)
	$(BIN)/python docs/results.py $(STUDY:%=runs/laptop/%) \
	  --sweeps $(foreach learner,linear mlp finetune,$(FIRST_POOLS:%=$(learner)-%))

# Every step that is done already is found done.
$(STUDY:%=study-%): study-%: $(VENV)/.installed
	for method in simclr vae rotation scan; do \
	  $(DEMO) pretrain $$method --dataset $(DATA)/$*.npz --run runs/laptop/$* --config configs/laptop/$*.toml || exit; \
	done
	$(DEMO) embed simclr --run runs/laptop/$*
	for first in $(FIRST_POOLS); do \
	  sweep="$(DEMO) al-run --run runs/laptop/$* --config configs/laptop/$*.toml --from simclr --budget $$first"; \
	  $$sweep --name linear-$$first || exit; \
	  $$sweep --name mlp-$$first --learner mlp --query margin --rounds 2 --seeds 12 || exit; \
	  $$sweep --name finetune-$$first --learner finetune --query random --rounds 1 --seeds 5 || exit; \
	done

# Two processes at a time; a file stays with one, for what its tests share.
test: $(VENV)/.installed lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

# With the tests that are marked slow.
test-all: $(VENV)/.installed lint
	$(BIN)/python -m pytest -m "not browser" -n 2 --dist loadfile

$(VENV)/.browser: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[browser]"
	touch $@

# The README's, from the demo run.
picture: $(VENV)/.browser
	$(BIN)/python docs/picture.py

# Where no Chrome or Chromium is found, every test is skipped and says why.
test-browser: $(VENV)/.browser
	$(BIN)/python -m pytest -m browser -rs -n 2 --dist worksteal tests/browser

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build *.egg-info
