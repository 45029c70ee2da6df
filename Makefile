# The front door. Every target sets this machine up first (scripts/setup.sh); CMake does the
# building. `make help` lists the targets; CONTRIBUTING.md tells more.

JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PREFIX ?= /usr/local
BUILD := build/release

# Steps of `make test` to run (all when empty), and arguments for the demo and the benchmarks.
STEPS ?=
TRACES ?= data/supertux.fatrace.zst data/doom.fatrace.zst
REPLAY_ARGS ?=
BENCH_ARGS ?= --csv-dir bench/results

.PHONY: help build demo test bench check format install clean setup
.DEFAULT_GOAL := help

help:
	@echo 'make demo      replay the traces of two games through malloc and through framealloc'
	@echo 'make test      build with gcc and clang, run all tests; STEPS="headers" runs some'
	@echo 'make bench     run the benchmarks, print the tables, write CSV into bench/results'
	@echo 'make check     check layout, sizes, layers and names of the source code'
	@echo 'make build     build the library and the programs into $(BUILD)'
	@echo 'make install   install them: PREFIX=$(PREFIX), DESTDIR as usual'
	@echo 'make format    format the C and C++ files'
	@echo 'make setup     install everything that any of these targets needs'
	@echo 'make clean     remove what was built'
	@echo
	@echo 'Each target first installs the packages it lacks, where it can, and says so.'

setup:
	@for what in build demo test bench check; do scripts/setup.sh $$what || exit 1; done

build:
	@scripts/setup.sh build
	@scripts/build.sh release framealloc_static framealloc_shared framealloc_program

demo:
	@scripts/setup.sh demo
	@scripts/build.sh release framealloc_program
	@for trace in $(TRACES); do \
	    echo; echo "$(BUILD)/bin/framealloc replay $$trace $(REPLAY_ARGS)"; \
	    $(BUILD)/bin/framealloc replay "$$trace" $(REPLAY_ARGS) || exit 1; \
	done

test:
	@scripts/setup.sh test
	@JOBS=$(JOBS) tests/run.sh $(STEPS)

bench:
	@scripts/setup.sh bench
	@scripts/build.sh release fa_bench fa_bench_objects framealloc_program
	@mkdir -p bench/results
	@$(BUILD)/bin/fa_bench $(BENCH_ARGS)
	@$(BUILD)/bin/fa_bench_objects $(BENCH_ARGS)
	@if command -v valgrind >/dev/null; then bench/instructions.sh; \
	else echo 'valgrind is not here: no instruction counts'; fi

check:
	@scripts/setup.sh check
	@scripts/check.sh

format:
	@scripts/setup.sh check
	@scripts/format.sh

# `sudo make install` after `make build` only copies.
install: build
	@cmake --install $(BUILD) --prefix "$(PREFIX)"

clean:
	rm -rf build
