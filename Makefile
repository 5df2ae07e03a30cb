GO       ?= go
FUZZTIME ?= 2s
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help run build test fuzz bench microbench simulate lint fmt generate screenshots faults soak clients

help: ## what there is to make
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 13

run: ## serve with the embedded store; options by environment, such as PLIMSOLL_LISTEN
	@.ci/need go
	$(GO) run ./server

build: ## one static binary in bin/
	@.ci/need go
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/plimsoll ./server

# REQUIRE_RACE=1 makes a missing C compiler an error.
test: ## everything: tests with the race detector, then each fuzz target for FUZZTIME
	@.ci/need go redis-server chromium
	@if .ci/need cc; then export CGO_ENABLED=1; set -- -race; \
	elif [ -n "$(REQUIRE_RACE)" ]; then echo "make test: REQUIRE_RACE is set, and -race needs a C compiler" >&2; exit 1; \
	else echo "make test: no C compiler, so without -race" >&2; set --; fi; \
	echo $(GO) test "$$@" -timeout 9m ./...; $(GO) test "$$@" -timeout 9m ./...
	@.ci/fuzz $(FUZZTIME)

fuzz: ## every fuzz target for longer: make fuzz FUZZTIME=1m
	@.ci/need go
	@.ci/fuzz $(FUZZTIME)

bench: ## the whole stack on both stores, against the limit; a table, and out/bench.json
	@.ci/need go redis-server
	PLIMSOLL_BENCH=1 $(GO) test -count=1 -run '^TestBench$$' -timeout 60m -v ./server/app
	$(GO) test -run '^$$' -bench 'PlanRingsAndFreezes|Gates100k|FreezeImpact100k' ./declarations/plan ./server/fleet

faults: ## kill -9, failovers, full disks, cut connections, overload, replicas: what was acknowledged against what is there
	@.ci/need go redis-server
	$(GO) test -race -count=1 -v -timeout 15m -run '^(TestFault|TestReplicas)' ./server/app

soak: ## three replicas on a Redis Cluster and 1,000 Macs, while nodes and replicas are killed one after the other
	@.ci/need go redis-server
	PLIMSOLL_SOAK=1 $(GO) test -count=1 -v -timeout 15m -run '^TestReplicasOnCluster$$' ./server/app

microbench: ## the benchmarks of the packages
	@.ci/need go
	$(GO) test -run '^$$' -bench . -benchmem ./...

simulate: ## ways to enforce updates, compared on simulated Macs: a table, out/simulate.json and .svg; N=5000 SEED=1
	@.ci/need go
	$(GO) run ./examples/simulate -n $(or $(N),5000) -seed $(or $(SEED),1)

lint: ## gofmt, vet, errcheck, staticcheck, unused, gofumpt
	@.ci/need go
	@bad=$$($$($(GO) env GOROOT)/bin/gofmt -l .); if [ -n "$$bad" ]; then echo "not gofmt-clean:"; echo "$$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(GOLANGCI) run ./...

fmt: ## format as lint wants it
	$(GO) run $(GOLANGCI) fmt ./...

screenshots: ## pictures of the dashboard's pages in out/screenshots
	@.ci/need go chromium
	PLIMSOLL_SCREENSHOTS=$(CURDIR)/out/screenshots $(GO) test -count=1 -run '^TestScreenshots$$' ./server/web

generate: ## write the generated files again
	$(GO) generate ./...

OAPI := github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2
OGEN := github.com/ogen-go/ogen/cmd/ogen@v1.25.0

clients: ## generate a client from the OpenAPI document with two generators, into out/clients
	@.ci/need go
	mkdir -p out/clients/oapi
	$(GO) run $(OAPI) -package client -generate types,client -o out/clients/oapi/client.go schemas/openapi.json
	$(GO) run $(OGEN) --target out/clients/ogen --package client --clean schemas/openapi.json
