# Every command of this project. `make` alone lists them.
SHELL := /bin/bash
export GOFLAGS ?= -buildvcs=false

.DEFAULT_GOAL := help
.PHONY: help backends

help: ## list the commands
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

backends: ## install or build every real backend the tests can use (idempotent; cached outside the tree)
	@bash internal/backend/install.sh

CACHE := $(or $(GO_PLATFORM_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/go-platform)
PROTOS := $(shell git ls-files --cached --others --exclude-standard '*.proto')
