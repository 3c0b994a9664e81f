# make           set up .venv and run article 1 with one seed: tables, figures, networks
# make test      set up .venv and run the fast tests
# make test-all  every test: clusters, browser, notebooks, installation
# make demo      the drawing demo on http://127.0.0.1:8000
# make seeds     article 1's records, several seeds; make heads: article 2's; make scoreboard: the scoreboard's
# make report    put the committed records' tables and figures into README.md and docs/
# make lint      what the code must pass besides the tests
# make clean     delete what `make` made, and .venv
#
# FLAGS are passed on to the scripts: make FLAGS="--data FOLDER", make seeds FLAGS="--seeds 10".

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
LIBRARY := $(wildcard common/*.py hypersphere/*.py data/*/*.gz)
.PHONY: all test test-all demo seeds heads scoreboard report lint clean

all: results/tsne.json results/lof.json
	@$(PY) -m experiments.report --results results --last-run

# A stage's record is written last, so its time stamp stands for all that the stage wrote.
results/cnn.json: train_cnn_baseline.py $(LIBRARY) | .venv/run
	@HYPERSPHERE_STAGE="[1/4]" $(PY) $< $(FLAGS)
results/l2softmax.json: train_l2softmax.py $(LIBRARY) | .venv/run
	@HYPERSPHERE_STAGE="[2/4]" $(PY) $< $(FLAGS)
results/tsne.json: visualize_tsne.py results/cnn.json results/l2softmax.json
	@HYPERSPHERE_STAGE="[3/4]" $(PY) $< $(FLAGS)
results/lof.json: anomaly_lof.py results/cnn.json results/l2softmax.json
	@HYPERSPHERE_STAGE="[4/4]" $(PY) $< $(FLAGS)

seeds heads scoreboard demo report: .venv/run
	$(PY) -m $(if $(filter demo,$@),demo,experiments.$@) $(FLAGS)

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
