# millrace: `make run` counts and times people in a clip, `make test` is what CI runs.
#
# PROFILE=dev makes `run` use the binary that `make test` builds: slower frames, no second build.

PROFILE ?= release
DEFINITION ?= pipelines/people-crossing-a-line.json
SOURCE ?= fixtures/video/pedestrians_640x480_10fps.mp4
OUTPUT ?= out/people
SECOND := pipelines/flow-and-dwell-time.json

MILLRACE := target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/millrace
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := build
.PHONY: setup build run test soak bench fmt lint clean

setup:
	@scripts/setup.sh

build: setup
	cargo build --locked --profile $(PROFILE)

run: build
	$(MILLRACE) run $(DEFINITION) --source $(SOURCE) --models fixtures/models \
		--output $(OUTPUT) --video $(OUTPUT)/annotated.mp4
	$(MILLRACE) run $(SECOND) --source $(SOURCE) --models fixtures/models \
		--output $(OUTPUT)-flow --video $(OUTPUT)-flow/annotated.mp4
	@echo
	@echo "Results, one JSON line a frame, and the annotated clips:"
	@ls -1 $(OUTPUT)/* $(OUTPUT)-flow/*

# Half of what tests take is waiting: twice as many run at once as there are processors.
test: export RUST_TEST_THREADS ?= $(shell expr 2 '*' $$(nproc))
test:
	@scripts/setup.sh --test
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --workspace --no-fail-fast

# Four cameras and 500 faults, with a table of how soon they came back.
soak:
	@scripts/setup.sh --test
	MILLRACE_CHAOS=500 cargo test --locked --test chaos -- --nocapture

bench: setup
	cargo bench --locked

fmt:
	cargo fmt --all

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

clean:
	cargo clean
	rm -rf out
