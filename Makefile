# Everything a person does here. `make help` lists it.
#
# Set-up is part of every target that needs it and takes a moment when there is nothing to do. It writes two places: .build/
# in the clone, and tandem/ in the user's cache folder (see cmd/tandem-setup), which all clones share.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BUILD := .build
TOOLS := $(BUILD)/tools
# What is linked to libtorch is compiled with the flags that set-up found; all else is pure Go.
ENGINE_ENV = GOENV="$$(cat $(BUILD)/goenv)" CGO_ENABLED=1
PURE_ENV = CGO_ENABLED=0
# The end-to-end tests start whole clusters and measure time: they have the machine to themselves.
E2E := tandem.dev/cmd/e2e
TEST_FLAGS ?=
TEST_PARALLEL ?= 2

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(BUILD)/tandem-setup ## Find or install libtorch and make the compiler's flags for it
	@$(BUILD)/tandem-setup >$(BUILD)/goenv.new && mv $(BUILD)/goenv.new $(BUILD)/goenv

$(BUILD)/tandem-setup: $(wildcard cmd/tandem-setup/*.go) $(shell find cmd/tandem-setup/standin -type f) go.mod
	@command -v go >/dev/null || { echo "Go 1.26 or later is missing: see https://go.dev/dl/"; exit 1; }
	@mkdir -p $(BUILD)
	@$(PURE_ENV) go build -o $@ ./cmd/tandem-setup

$(BUILD)/tandem-check: $(wildcard cmd/tandem-check/*.go) go.mod
	@mkdir -p $(BUILD)
	@$(PURE_ENV) go build -o $@ ./cmd/tandem-check

$(TOOLS)/%.stamp: .ci/tools/%/go.mod .ci/tools/%/go.sum
	@mkdir -p $(TOOLS)
	@echo "building the tools of .ci/tools/$*"
	@cd .ci/tools/$* && $(PURE_ENV) go build -trimpath -buildvcs=false -o $(CURDIR)/$(TOOLS)/ tool
	@touch $@

.PHONY: build
build: setup ## Build bin/tandem and bin/tandem-engine (the first time takes some minutes)
	@mkdir -p bin
	@$(PURE_ENV) go build -v -o bin/tandem ./cmd/tandem 2>&1 | .ci/progress
	@$(ENGINE_ENV) go build -v -o bin/tandem-engine ./cmd/tandem-engine 2>&1 | .ci/progress

.PHONY: generate
generate: $(TOOLS)/buf.stamp $(TOOLS)/protogen.stamp ## Generate the Go code of proto/
	@$(TOOLS)/buf generate

.PHONY: third-party
third-party: setup $(TOOLS)/licenses.stamp ## Write THIRD_PARTY.md: what the programs are linked from
	@.ci/third-party md >$(BUILD)/third-party.md && cp $(BUILD)/third-party.md THIRD_PARTY.md

# The tag and "make release-schema" of the new release come after it, see CONTRIBUTING.md.
.PHONY: release
release: setup $(TOOLS)/licenses.stamp $(TOOLS)/sbom.stamp ## Make dist/: static programs, source, SBOM, checksums; built twice and compared
	@.ci/release

# The schema of the last release, which every later one must be able to read. Renewed when a release is made, from its tag or commit.
.PHONY: release-schema
release-schema: $(TOOLS)/buf.stamp ## Keep the schema of a release for "make check" (RELEASE=commit)
	@test -n "$(RELEASE)" || { echo "say which release: make release-schema RELEASE=v1.2.0"; exit 1; }
	@$(TOOLS)/buf build "$$(git rev-parse --git-common-dir)#ref=$(RELEASE)" --exclude-source-info -o .ci/release.binpb

.PHONY: check
check: setup $(BUILD)/tandem-check $(TOOLS)/buf.stamp $(TOOLS)/protogen.stamp $(TOOLS)/golangci-lint.stamp $(TOOLS)/licenses.stamp ## Format, vet, lint, house rules, generated code
	@echo "format"; unformatted="$$(gofmt -l .)"; \
	  if [ -n "$$unformatted" ]; then echo "$$unformatted"; echo "run: gofmt -w ."; exit 1; fi
	@echo "house rules"; $(BUILD)/tandem-check house
	@echo "proto"; $(TOOLS)/buf lint; $(TOOLS)/buf format --path proto/tandem --diff --exit-code
	@echo "proto against the last release"; $(TOOLS)/buf breaking --against .ci/release.binpb
	@echo "generated code"; rm -rf $(BUILD)/generated; $(TOOLS)/buf generate --output $(BUILD)/generated; \
	  $(BUILD)/tandem-check generated $(BUILD)/generated/proto proto
	@echo "licences"; .ci/third-party md >$(BUILD)/third-party.md; \
	  diff THIRD_PARTY.md $(BUILD)/third-party.md || { echo "run: make third-party"; exit 1; }
	@$(MAKE) cuda-types
	@echo "vet"; $(ENGINE_ENV) go vet ./...
	@echo "lint"; $(ENGINE_ENV) $(TOOLS)/golangci-lint run ./...

# Of the two files that know CUDA. The stand-ins for NVIDIA's headers are those that libtorch 1.13 wants; where CUDA's own are, the build
# compiles the same code anyway.
CUDA_FILES := worker/torch/group.cc worker/torch/core.cc
.PHONY: cuda-types
cuda-types: setup
	@flags="$$(sed -n 's/^CGO_CXXFLAGS=//p' "$$(cat $(BUILD)/goenv)")"; \
	if [[ "$$flags" == *TANDEM_CUDA* ]]; then echo "code for CUDA: compiled by the build"; \
	elif echo '#include <torch/version.h>' | g++ $$flags -E -dM -x c++ - | grep 'TORCH_VERSION_MAJOR 1$$' >/dev/null; then \
	  echo "code for CUDA: types only"; \
	  for file in $(CUDA_FILES); do g++ $$flags -DTANDEM_CUDA -DUSE_C10D_NCCL -I.ci/cuda -fsyntax-only $$file; done; \
	else echo "code for CUDA: not checked, which needs libtorch 1.13 or one with CUDA"; fi

.PHONY: test
test: build $(BUILD)/tandem-check ## Run all tests; ends with the counts
	@packages="$$($(ENGINE_ENV) go list ./... | grep -v '^$(E2E)')"; \
	{ rc=0; \
	  $(ENGINE_ENV) go test -json -p $(TEST_PARALLEL) -timeout 20m $(TEST_FLAGS) $$packages || rc=1; \
	  $(ENGINE_ENV) go test -json -p 1 -timeout 25m $(TEST_FLAGS) $(E2E)/... || rc=1; \
	  exit $$rc; } | $(BUILD)/tandem-check tests

# A test binary is pure when nothing it is linked from is gotch. What measures memory has other figures under the race detector.
.PHONY: race
race: setup $(BUILD)/tandem-check ## Run the tests of all packages without libtorch under the race detector
	@packages="$$($(ENGINE_ENV) go list -test -f '{{.ImportPath}}: {{join .Deps " "}}' ./... | \
	  grep '\.test: ' | grep -v -e 'github.com/sugarme/gotch' -e '^$(E2E)' | sed 's/\.test: .*//')"; \
	CGO_ENABLED=1 go test -json -race -p $(TEST_PARALLEL) -timeout 30m -skip '^TestTheWorstFilesAreCheap$$' $(TEST_FLAGS) $$packages | $(BUILD)/tandem-check tests

.PHONY: chaos
chaos: build $(BUILD)/tandem-check ## 200 random faults over real processes (CHAOS=n, SEED=n); a short form is part of test
	@TANDEM_CHAOS=$${CHAOS:-200} TANDEM_CHAOS_SEED=$${SEED:-1} $(ENGINE_ENV) go test -json -timeout 60m -run '^TestChaos$$' $(E2E)/... | $(BUILD)/tandem-check tests

# One rank over NCCL, and two on one device, whose tensors go through the host's memory.
GPU_PACKAGES := ./worker/torch ./worker/engine
.PHONY: gpu
gpu: build $(BUILD)/tandem-check ## Run the engine's tests on a CUDA device; without one it says which did not run
	@if bin/tandem-engine devices | grep -q '"kind": "cuda"'; then \
	  TANDEM_TEST_CUDA=1 $(ENGINE_ENV) go test -json -p 1 $(TEST_FLAGS) $(GPU_PACKAGES) | $(BUILD)/tandem-check tests; \
	else \
	  echo "There is no CUDA device here, or libtorch was built without CUDA (see: bin/tandem-engine devices). Not run on CUDA:"; \
	  $(ENGINE_ENV) go test -list '^Test' $(GPU_PACKAGES) | grep '^Test' | sed 's/^/  /'; \
	fi

# Not part of test, for it needs root, a Debian mirror and some 20 minutes. Run it before a change of worker/torch is called done.
.PHONY: libtorch2
libtorch2: ## Run the tests on libtorch 2 (SUITE=trixie or sid, CUDA=1 to link with CUDA, COMMAND='make build')
	@.ci/libtorch2 $(COMMAND)

# Not part of test, for it needs qemu. Run it before a change of worker/cgroup is called done.
.PHONY: cgroup
cgroup: ## Run the tests that need a cgroup of their own, in a virtual machine
	@.ci/cgroup

.PHONY: mutants
mutants: setup $(BUILD)/tandem-check ## Plant a fault for each promise: the tests must notice it (takes some 10 minutes)
	@GOENV="$$(cat $(BUILD)/goenv)" $(BUILD)/tandem-check mutants .ci/mutants.yaml

.PHONY: bench
bench: build ## Measure against the peers and write bench/results/
	@$(ENGINE_ENV) go run ./bench $(BENCH_FLAGS)

.PHONY: demo
demo: build ## From nothing to a prediction: a cluster, a training, a published model
	@bin/tandem up --demo

.PHONY: clean
clean: ## Delete what was built here (the cache folder stays)
	@rm -rf bin dist $(BUILD)
