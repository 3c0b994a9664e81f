# make            set up .venv and run the whole reproduction (seed 0): tables and figures
# make test       set up .venv and run the fast tests
# make test-slow  the tests that check a finished reproduction's numbers on all of MNIST
# make seeds      the five seeds behind the README's tables, then the tables themselves
# make heads      the comparison of heads behind the README's tables (--data: see DATA), hours
# make outliers   the scoreboard of detectors behind the README's tables (--data: see DATA), an hour
# make demo       the drawing demo on http://127.0.0.1:8000
# make bench      every benchmark: each stage beside its alternatives, LOF's growth, make itself, the demo; 70 minutes
# make bench-demo the demo's alone: latency, load and memory, and what it takes pictures for
# make lint       what the code must pass besides the tests
# make clean      delete what `make` made, and .venv
#
# PYTHON names an interpreter (3.10 to 3.13); DATA names a folder with more data sets; ALPHA is the sphere's radius;
# FLAGS are passed on: make outliers FLAGS="--dask tcp://SCHEDULER:8786"

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
ifdef DATA
export HYPERSPHERE_DATA := $(abspath $(DATA))
endif

VENV := .venv
PY := $(VENV)/bin/python
OUT ?= .
COMMON := hypersphere/data.py hypersphere/errors.py hypersphere/plots.py hypersphere/runs.py
MNIST := $(wildcard data/mnist/*.gz)
RESULTS := $(OUT)/results
# Their time stamps are those of the last change of ALPHA, and of DATA.
LAST_ALPHA := $(OUT)/models/.alpha
LAST_DATA := $(OUT)/models/.data
remember = $(shell mkdir -p $(dir $1); echo "$2" | cmp -s - $1 || echo "$2" > $1)
ifeq ($(filter test test-slow seeds heads outliers demo readme bench-demo lint clean,$(MAKECMDGOALS)),)
$(call remember,$(LAST_ALPHA),$(ALPHA))
ifdef DATA
$(call remember,$(LAST_DATA),$(DATA))
endif
endif

.PHONY: all tables test test-slow seeds heads outliers demo readme bench bench-demo lint clean
.DELETE_ON_ERROR:

all: tables

# A stage's record is written last, so its time stamp stands for all that the stage wrote.
$(RESULTS)/cnn.json: train_cnn_baseline.py hypersphere/networks.py hypersphere/heads.py $(COMMON) $(MNIST) | $(VENV)/run
	$(PY) train_cnn_baseline.py --out $(OUT) $(FLAGS)

$(RESULTS)/l2softmax.json: train_l2softmax.py hypersphere/recipes.py hypersphere/networks.py hypersphere/heads.py $(COMMON) $(MNIST) \
		$(LAST_ALPHA) | $(VENV)/run
	$(PY) train_l2softmax.py --out $(OUT) $(if $(ALPHA),--alpha $(ALPHA)) $(FLAGS)

$(RESULTS)/tsne.json: visualize_tsne.py hypersphere/maps.py $(COMMON) $(RESULTS)/cnn.json $(RESULTS)/l2softmax.json
	$(PY) visualize_tsne.py --out $(OUT) $(FLAGS)

$(RESULTS)/lof.json: anomaly_lof.py hypersphere/neighbors.py hypersphere/novelty.py hypersphere/detectors.py hypersphere/outlier_sets.py $(COMMON) \
		$(RESULTS)/cnn.json $(RESULTS)/l2softmax.json $(wildcard data/fashion-mnist/*.gz $(LAST_DATA))
	$(PY) anomaly_lof.py --out $(OUT) $(LOF_FLAGS)

tables: $(RESULTS)/tsne.json $(RESULTS)/lof.json
	@$(PY) -m hypersphere.tables $(OUT)

# An interrupted sweep continues, here and below.
seeds: $(VENV)/run
	$(PY) benchmark_seeds.py --out runs/seeds $(FLAGS)
	mkdir -p results/article1
	cp -r runs/seeds/results/seeds/* results/article1/
	$(MAKE) readme

# --legacy runs the control on three of the ten draws.
heads: | $(VENV)/run
	$(PY) benchmark_anomaly.py --out runs/heads $(FLAGS)
	$(PY) benchmark_anomaly.py --out runs/heads --legacy --heads l2softmax arcface adacos --seeds 3 $(FLAGS)
	mkdir -p results/article2
	cp -r runs/heads/results/anomaly/* results/article2/
	cp runs/heads/figures/anomaly_*_cnn.png figures/
	$(MAKE) readme

outliers: $(VENV)/run
	$(PY) benchmark_ood.py --recipes best article --out runs/outliers $(FLAGS)
	mkdir -p results/scoreboard
	cp -r runs/outliers/results/outliers/* results/scoreboard/
	cp runs/outliers/figures/outliers_*.png figures/
	$(PY) -m demo.build --run runs/outliers
	$(MAKE) readme

demo: $(VENV)/run
	$(PY) -m demo $(FLAGS)

readme: $(VENV)/run
	$(PY) -m hypersphere.readme

test: $(VENV)/dev
	$(PY) -m pytest

test-slow: $(VENV)/dev
	$(PY) -m pytest -m slow

lint: $(VENV)/dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

bench: $(RESULTS)/l2softmax.json
	$(PY) -m benchmarks.speed --out $(OUT)
	$(PY) -m benchmarks.growth --out $(OUT)
	$(PY) -m benchmarks.whole --out $(OUT)
	cp $(addprefix $(RESULTS)/, speed.json growth.json whole.json) results/benchmarks/
	$(MAKE) bench-demo

bench-demo: $(VENV)/run
	$(PY) -m benchmarks.demo --out runs/demo
	cp runs/demo/results/demo.json results/benchmarks/
	$(MAKE) readme

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 to 3.13 found; install one or give make PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "error: $(PYTHON) -m venv failed; on Debian or Ubuntu: apt install python3-venv" >&2; exit 2; }

$(VENV)/run: requirements.txt | $(VENV)/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev: requirements-dev.txt requirements.txt | $(VENV)/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/run

clean:
	rm -rf $(VENV) runs models/*.keras models/*.npz models/*.skops models/.resume-* models/.alpha models/.data models/anomaly results/*.json results/anomaly results/outliers results/seeds models/outliers models/demo/*.skops
