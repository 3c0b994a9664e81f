# make            set up .venv and run article 1 with one seed: tables, figures, networks
# make test       set up .venv and run the fast tests
# make test-all   every test: clusters, browser, notebooks, installation
# make demo       the drawing demo on http://127.0.0.1:8000
# make article1, article2, scoreboard, unseen   a study's records, into runs/
# make report     put the committed records' tables and figures into README.md and docs/
# make lint       what the code must pass besides the tests
# make clean      delete what `make` made, and .venv
#
# FLAGS go to every command. For `make` alone they are those that all four scripts know: --smoke, --data FOLDER,
# --out FOLDER, --verbose, as in make FLAGS="--data FOLDER". TRAIN goes to both trainings, which then run anew:
# make TRAIN="--epochs 5 --seed 3". A study has flags of its own: make article1 FLAGS="--seeds 5".

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
OUT := $(or $(shell echo '$(FLAGS)' | sed -nE 's/.*--out[= ] *([^ ]+).*/\1/p'),$(if $(filter --smoke,$(FLAGS)),runs/smoke,.))
STUDIES := article1 article2 scoreboard unseen
TRAINING := common/training.py $(patsubst %,hypersphere/%.py,datasets features layers networks) $(wildcard data/mnist/*.gz)
DETECTION := $(patsubst %,hypersphere/%.py,datasets detectors features outliers scores)
CIFAR10_MISSING := $(shell grep -s '"missing": "[^"]' $(OUT)/results/lof.json)
TRAINED := $(OUT)/results/cnn.json $(OUT)/results/l2softmax.json
.PHONY: all anew test test-all demo $(STUDIES) report lint clean

all: $(OUT)/results/tsne.json $(OUT)/results/lof.json
	@$(PY) -m experiments.report --results $(OUT)/results --last-run

# A stage's record is written last, so its time stamp stands for all that the stage wrote.
$(OUT)/results/cnn.json: train_cnn_baseline.py
	@HYPERSPHERE_STAGE="[1/4]" $(PY) $< $(FLAGS) $(TRAIN)
$(OUT)/results/l2softmax.json: train_l2softmax.py
	@HYPERSPHERE_STAGE="[2/4]" $(PY) $< $(FLAGS) $(TRAIN)
$(OUT)/results/tsne.json: visualize_tsne.py hypersphere/tsne.py hypersphere/scores.py common/plots.py $(TRAINED)
	@HYPERSPHERE_STAGE="[3/4]" $(PY) $< $(FLAGS)
$(OUT)/results/lof.json: anomaly_lof.py $(DETECTION) common/plots.py $(TRAINED) $(if $(CIFAR10_MISSING),anew)
	@HYPERSPHERE_STAGE="[4/4]" $(PY) $< $(FLAGS)
$(TRAINED): $(TRAINING) $(if $(TRAIN),anew) | .venv/run

$(STUDIES) report: .venv/run
	$(PY) -m experiments.$@ $(FLAGS)
demo: .venv/run
	$(PY) -m demo $(FLAGS)

test: .venv/dev
	$(PY) -m pytest -m "not slow" $(FLAGS)
test-all: .venv/dev
	$(PY) -m pytest $(FLAGS)
lint: .venv/dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 to 3.13 found; install one or give make PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "error: $(PYTHON) -m venv failed; on Debian or Ubuntu: apt install python3-venv" >&2; exit 2; }
.venv/run: requirements.txt | .venv/bin/python
	$(PIP) -r requirements.txt
	@touch $@
.venv/dev: pyproject.toml requirements.txt | .venv/bin/python
	$(PIP) -r requirements.txt
	$(PIP) --editable '.[dev]'
	@touch $@ .venv/run

clean:
	rm -rf .venv runs models/*.keras models/*.npz models/*.skops models/demo/*.skops models/demo/.partial-* results/*.json
