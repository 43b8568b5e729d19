# Cairn. `make` lists the targets; each brings what it needs by itself.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

BINARIES := cairn groups membership scheduling referral partners gateway
MODULES := gen services bench
FUZZTIME ?= 10s

TOOLS := tools/bin
BUF := tools/node_modules/.bin/buf
PLUGINS := google.golang.org/protobuf/cmd/protoc-gen-go \
  google.golang.org/grpc/cmd/protoc-gen-go-grpc \
  github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway \
  ./protoc-gen-openapi \
  ./fhirgen
GO_TOOLS := GOWORK=off go -C tools
# The race detector needs a C compiler; `make setup` brings one where it can.
RACE = $(shell command -v cc gcc clang >/dev/null && echo -race)

.PHONY: help setup build gen lint test demo run bench fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## bring what a fresh machine lacks: PostgreSQL 15 or later, a C compiler
	@tools/setup.sh --verbose

build: ## build the programs into bin/
	@mkdir -p bin
	go build -o bin/ $(BINARIES:%=./services/cmd/%)

gen: $(BUF) $(TOOLS)/plugins tools/protos ## regenerate gen/ from proto/, and the FHIR types
	tools/gen.sh

lint: $(BUF) $(TOOLS)/plugins $(TOOLS)/golangci-lint tools/protos ## check style, contracts, layering, and that gen/ is current
	tools/lint.sh

test: ## run every test, with the race detector, over a real PostgreSQL and a real JetStream
	@tools/setup.sh
	@# go vet is a part of lint
	go test $(RACE) -vet=off -shuffle=on -timeout=20m $(MODULES:%=./%/...)

demo: build ## start Cairn and walk one referral round its loop, then keep serving
	@tools/setup.sh
	bin/cairn demo

run: build ## start Cairn with its data in ./data
	@tools/setup.sh
	bin/cairn serve

bench: build ## measure side by side and print the table; writes docs/search-performance.md
	@tools/setup.sh
	go -C bench run . -docs ../docs

fuzz: ## run every fuzz target for FUZZTIME (10s)
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' $(MODULES) | sort | while IFS=: read -r file func; do \
	  echo "== $${func#func } ($$(dirname "$$file"))"; \
	  go test "./$$(dirname "$$file")" -run='^$$' -fuzz="^$${func#func }\$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=10x; \
	done

clean: ## remove what the other targets made; data directories stay
	rm -rf bin $(TOOLS) tools/node_modules tools/postgresql/node_modules tools/protos

# The tools below are built once and again when their pins change.

$(BUF): tools/package-lock.json
	npm --prefix tools install --no-save --no-progress --ignore-scripts --loglevel=error
	@touch $@

$(TOOLS)/plugins: tools/go.mod $(wildcard tools/protoc-gen-openapi/*.go tools/fhirgen/*.go)
	$(GO_TOOLS) build -o bin/ $(PLUGINS)
	@touch $@

$(TOOLS)/golangci-lint: tools/go.mod
	$(GO_TOOLS) build -o bin/ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@

tools/protos: tools/go.mod tools/protodeps/main.go
	rm -rf $@
	$(GO_TOOLS) run ./protodeps protos
	@touch $@
