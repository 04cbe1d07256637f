# Every command of this project; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export GOFLAGS ?= -buildvcs=false

# Tools and backends live outside the tree, see internal/backend/install.sh.
CACHE := $(or $(GO_PLATFORM_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/go-platform)
# The modules of this repository: the library, and those of heavy clients,
# interop tests and benchmarks, kept apart so that users never see them.
MODULES := $(sort $(dir $(shell git ls-files --cached --others --exclude-standard '*go.mod')))
PROTOS := $(shell git ls-files --cached --others --exclude-standard '*.proto')
INSTALL := bash internal/backend/install.sh

# The race detector needs a C compiler.
RACE := $(if $(shell command -v $${CC:-gcc}),-race)

# The features: folders with a package of their name.
FEATURES := $(sort $(foreach d,$(patsubst %/,%,$(wildcard */)),$(if $(wildcard $(d)/$(d).go),$(d))))
# What make test tests of the main module, and the modules it goes through: all,
# or those of the features in F.
TESTED = $(or $(F:%=./%/...),./...)
TESTMODULES = $(if $(F),./ $(foreach f,$(F),$(filter $(f)/%,$(MODULES))),$(MODULES))
# How make test ends: what internal/backend/skip noted, and for how many tests.
SKIPPED = sort "$$GO_PLATFORM_SKIPPED" | uniq -c | sed -E "s/^ *([0-9]+) /skipped (\1): /"

each = @for m in $(MODULES); do echo "== $$m: $(1)"; (cd "$$m" && $(1)); done

.PHONY: help run test check proto bench fuzz faults backends build fmt vet crossvet lint tidy protodiff benchonce

help: ## list the commands
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## the whole platform in one process with live traffic; Ctrl-C ends it
	@echo building examples/platform; go build -o bin/ ./examples/platform && exec bin/platform

build: ## the services' binaries, into bin/
	@mkdir -p bin && go build -o bin/ ./*/*-srv

# Tests that run in parallel wait, so more of them than there are cores.
test: ## unit, conformance and end-to-end tests of all modules under the race detector; F=kv: those of one feature
	$(if $(filter-out $(FEATURES),$(F)),$(error there is no feature "$(F)", F is one of: $(FEATURES)))
	@[ -n "$(RACE)" ] || echo "no C compiler found: testing without the race detector (apt-get install gcc)"
	@export GO_PLATFORM_SKIPPED=$$(mktemp); trap '$(SKIPPED); rm "$$GO_PLATFORM_SKIPPED"' EXIT; \
	for m in $(TESTMODULES); do \
		packages=./...; [ "$$m" != ./ ] || packages="$(TESTED)"; \
		echo "== $$m: go test $(RACE) -parallel 8 -timeout 20m $$packages"; \
		(cd "$$m" && go test $(RACE) -parallel 8 -timeout 20m $$packages); done

check: fmt vet crossvet lint tidy protodiff benchonce ## formatting, vet (for Windows and macOS too), lint, tidy and proto diffs, each benchmark once

fmt:
	@out=$$(git ls-files --cached --others --exclude-standard '*.go' | xargs gofmt -l); \
	if [ -n "$$out" ]; then echo "gofmt would change:" $$out; exit 1; fi

vet:
	$(call each,go vet ./...)

# Whether all of it compiles where users work, and CI does not run.
crossvet:
	$(call each,CGO_ENABLED=0 GOOS=windows GOARCH=amd64 go vet ./...)
	$(call each,CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 go vet ./...)

lint:
	@$(INSTALL) lint
	$(call each,$(CACHE)/bin/golangci-lint run --config $(CURDIR)/.golangci.yml ./...)

# -e: the tests of stathat.com/c/consistent, as github.com/stathat/consistent
# calls itself in them, cannot be had any more.
tidy:
	$(call each,go mod tidy -e -diff)

protodiff: proto
	@out=$$(git status --porcelain -- '*.pb.go' '*.pb.micro.go'); \
	if [ -n "$$out" ]; then echo "generated code differs, commit what make proto wrote:" $$out; exit 1; fi

proto: ## regenerate the code of every .proto
	@$(INSTALL) protoc
	@PATH="$(CACHE)/bin:$$PATH"; for p in $(PROTOS); do \
		outs=--go_out=paths=source_relative:.; \
		if grep -q '^service ' "$$p"; then outs="$$outs --micro_out=paths=source_relative:."; fi; \
		protoc $$outs "$$p"; done

benchonce:
	$(call each,go test -run '^$$' -bench . -benchtime 1x ./...)

bench: ## the benchmarks, ours beside those of peers
	$(call each,go test -run '^$$' -bench . -benchmem ./...)

fuzz: ## ten seconds of every fuzz target
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r d; do \
		for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$d/*_test.go | cut -c6-); do \
			echo "== $$d $$f"; (cd $$d && go test -run '^$$' -fuzz "^$$f$$" -fuzztime 10s .); done; done

faults: ## the long process and fault tests
	@FAULTS=1 go test $(RACE) -timeout 60m -run 'Fault' -v ./internal/e2e ./discovery/internal/e2e ./monitor/internal/e2e ./event/internal/e2e ./kv/internal/e2e ./auth/guard ./sync/internal/queue

backends: ## install or build every real backend the tests can use (idempotent, cached outside the tree)
	@$(INSTALL)
