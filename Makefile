# `make serve` and `make test` need Python 3.11 and make, nothing else.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# What is installed is decided by these files; the stamps are newer than them once it is.
LOCK := constraints.txt pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help serve test soak lint types imports evaluate bench side-by-side compare-encoders \
	training-speed retraining recipes recipe-variants runtimes walkthrough shipped-model clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(VENV)/.pip: constraints.txt
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --upgrade --constraint constraints.txt pip setuptools
	@touch $@

$(VENV)/.serve: $(VENV)/.pip $(LOCK)
	@echo 'Installing Whorl and what it needs into $(VENV) (once, a minute or two) ...'
	@$(BIN)/python -m pip install -qq --no-build-isolation --constraint constraints.txt --editable '.[cpu]'
	@touch $@

$(VENV)/.test: $(VENV)/.serve $(LOCK)
	@echo 'Installing what the tests need into $(VENV) (once) ...'
	@$(BIN)/python -m pip install -qq --no-build-isolation --constraint constraints.txt --editable '.[cpu,wsq,search]' --group dev
	@touch $@

$(VENV)/.bench: $(VENV)/.test $(LOCK)
	@echo 'Installing what is measured beside Whorl into $(VENV) (once) ...'
	@$(BIN)/python -m pip install -qq --no-build-isolation --constraint constraints.txt --group bench
	@touch $@

$(VENV)/.runtimes: $(VENV)/.test $(LOCK) constraints-runtimes.txt
	@echo 'Installing the runtimes into $(VENV) (once) ...'
	@$(BIN)/python -m pip install -qq --no-build-isolation --constraint constraints-runtimes.txt --editable '.[cpu,wsq,search,runtimes]' --group dev
	@touch $@

serve: $(VENV)/.serve ## Install what is needed and serve on http://127.0.0.1:8000
	@exec $(BIN)/whorl serve

lint: $(VENV)/.test ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test ## Types
	$(BIN)/mypy

imports: $(VENV)/.test ## Who may import whom
	$(BIN)/lint-imports

# Types are looked at beside the tests: before them they would leave one core idle. What is said of
# them stands last, where it is seen.
test: lint imports ## Lint, types, import rules and all tests
	@mkdir -p build
	@$(BIN)/mypy >build/types.txt 2>&1 & types=$$!; \
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder; tested=$$?; \
	wait $$types; typed=$$?; cat build/types.txt; exit $$((tested | typed))

soak: $(VENV)/.test ## The tests that take hours: faults in every phase, promotions under load
	$(BIN)/pytest -m soak

evaluate: $(VENV)/.test ## Measure the shipped model on the sets under WHORL_DATASETS
	$(BIN)/whorl evaluate --all --baseline nbis --rotate-probe 45 --partial-probe 0.5 \
		--out docs/evaluation --readme README.md

bench: $(VENV)/.bench ## Measure how fast the service is here, for docs/performance.md
	$(BIN)/python -m app.cli.bench --page docs/performance.md

runtimes: $(VENV)/.runtimes ## Test and measure ONNX Runtime, OpenVINO and LiteRT beside what serves
	$(BIN)/pytest tests/integration/test_runtimes.py tests/integration/test_loading.py
	$(BIN)/python -m app.cli.bench --part runtimes --page build/runtimes.md

side-by-side: $(VENV)/.test ## Synthetic prints beside the real ones under WHORL_DATASETS
	$(BIN)/python -m app.cli.side_by_side

compare-encoders: $(VENV)/.test ## Train variants of the encoder alike and measure them on real prints
	$(BIN)/python -m app.cli.compare_encoders

training-speed: $(VENV)/.test ## Images a second of making prints, of the training step, of both
	$(BIN)/python -m app.cli.training_speed

retraining: $(VENV)/.test ## Tune the shipped model to a public sensor and measure it, for docs/retraining.md
	$(BIN)/python -m app.cli.retraining

recipes: $(VENV)/.test ## Train every recipe and its original over three seeds, write docs/recipes.md
	$(BIN)/whorl recipes run all

recipe-variants: $(VENV)/.test ## Change one thing at a time in the recipe of faces, write docs/recipe-variants.md
	$(BIN)/whorl recipes run docs/recipe-variants/recipes/*.json --out docs/recipe-variants

walkthrough: $(VENV)/.test ## Run the README's walk-through and put its output there
	$(BIN)/python -m tests.e2e.walkthrough

shipped-model: $(VENV)/.test ## Train the shipped model again (two hours on two cores with bfloat16)
	$(BIN)/whorl train --recipe default --scratch --out model_store/shipped --backup build/fit

clean: ## Remove the environment and caches, never ./var
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
