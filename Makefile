# make demo: from a clone to a fine-tuned model on a fresh Debian or Ubuntu machine.
# make test: everything that CI checks. Both install what they need first; Rust is the one prerequisite.

# Outside the checkout, so that a fresh clone does not compile llama.cpp again.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/nightgraft/target
# Where rustup puts cargo, also for a shell that has not been restarted since.
export PATH := $(PATH):$(HOME)/.cargo/bin

DEMO_OUT ?= target/demo

.PHONY: help demo build test clean-demo

help:
	@echo "make demo    build, fetch a small model, fine-tune it on sample conversations, show before and after"
	@echo "make build   the release binary, in $(CARGO_TARGET_DIR)/release/nightgraft"
	@echo "make test    everything that CI checks"

demo: build
	@bindings/xtask/setup.sh demo
	@core/cli/demo.sh "$(CARGO_TARGET_DIR)/release/nightgraft" "$(DEMO_OUT)"

build:
	@bindings/xtask/setup.sh build
	cargo build --release --locked

test:
	@bindings/xtask/setup.sh test
	cargo xtask ci

clean-demo:
	rm -rf "$(DEMO_OUT)"
