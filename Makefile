# Cairn. `make help` says what there is; every target brings what it needs by itself.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

BIN := tools/bin
BUF := tools/node_modules/.bin/buf
PLUGINS := protoc-gen-go protoc-gen-go-grpc protoc-gen-grpc-gateway protoc-gen-openapiv2
GO_TOOLS := GOWORK=off go -C tools

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: gen
gen: $(BUF) $(BIN)/plugins tools/protos ## regenerate gen/ from proto/
	tools/gen.sh

$(BUF): tools/package-lock.json
	npm --prefix tools ci --no-progress
	touch $@

$(BIN)/plugins: tools/go.mod
	$(GO_TOOLS) build -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc \
	  github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv2
	touch $@

tools/protos: tools/go.mod tools/protodeps/main.go
	rm -rf $@
	$(GO_TOOLS) run ./protodeps protos
