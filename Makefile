# Everything that people and CI do with this repository. `make` alone lists it.

GO      ?= go
MODULE  := github.com/globalbusinessadvisors/llm-memory-graph
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# Without the tag hashicorpmetrics raft exports no metrics. The version is stamped by the linker, not read from git by go.
TAGS := hashicorpmetrics
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false -tags=$(TAGS))

BIN      := $(CURDIR)/bin
COVER    := $(BIN)/cover
TOOLS    := .ci/tools
LDFLAGS  := -X main.version=$(VERSION)
CONTRACT := proto/testdata/contract.proto
GOFMT     = "$$($(GO) env GOROOT)/bin/gofmt"

# Percent of statements, without generated code, that tests and the servers that they start must run.
COVER_MIN := 85
# The rooms that must build for wasip1, so that a simulation can run them.
WASM_PACKAGES := ./graph/... ./fsm ./cluster
# Tests that start no process: everything but these two.
UNIT_PACKAGES = $$($(GO) list ./... | grep -vE '^$(MODULE)/(cmd|jepsen)(/|$$)')
TEST_TIMEOUT := 30m
# `make check` sets -race.
RACE :=
# How long each fuzz target runs, which of them, and what else go test is told.
FUZZTIME := 30s
FUZZ     :=
FUZZARGS :=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build run cluster crash sim sim-replay test test-unit test-integration test-e2e cover check fuzz bench bench-postgres bench-large bench-cluster bench-go datasets gen clean \
	check-format check-vet check-lint check-gen check-modules check-wasm check-tools

help: ## list the targets
	@sed -n 's/^\([a-z][a-z0-9-]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 28

build: ## build bin/memory-graph, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w $(LDFLAGS)' -o bin/memory-graph ./cmd/memory-graph

run: build ## build and start the dev server; an empty store gets a small sample (ARGS="--in-memory" …)
	exec bin/memory-graph dev --sample $(ARGS)

cluster: build ## run three nodes on 127.0.0.1, .2 and .3 and say what to try (ARGS="--nodes 5", --any-port)
	exec bin/memory-graph cluster local --dir bin/cluster $(ARGS)

test: ## run all tests
	$(GO) test -timeout $(TEST_TIMEOUT) ./...

test-unit: ## run the tests that start no process
	$(GO) test -timeout $(TEST_TIMEOUT) $(UNIT_PACKAGES)

test-integration: ## run the tests of the program and its commands
	$(GO) test -timeout $(TEST_TIMEOUT) ./cmd/...

test-e2e: ## run the black-box tests against real server processes
	$(GO) test -timeout $(TEST_TIMEOUT) ./jepsen/...

# Tests take the server that they start from MEMORY_GRAPH_BINARY. The one built here writes what it ran to GOCOVERDIR, which go
# test sets and counts.
cover: ## run all tests and measure coverage, servers included; writes cover.out
	rm -rf $(COVER)
	mkdir -p $(COVER)
	$(GO) build -cover -covermode=atomic -coverpkg=./... -ldflags '$(LDFLAGS)' -o $(COVER)/memory-graph ./cmd/memory-graph
	MEMORY_GRAPH_BINARY=$(COVER)/memory-graph \
		$(GO) test $(RACE) -count=1 -timeout $(TEST_TIMEOUT) -covermode=atomic -coverpkg=./... -coverprofile=$(COVER)/tests.out ./...
	$(GO) -C $(TOOLS) run ./coverage -min $(COVER_MIN) -module $(MODULE) -out $(CURDIR)/cover.out $(COVER)/tests.out

# The quick checks come first, the long ones last.
check: RACE := -race
check: check-format check-modules check-gen check-vet check-lint build check-wasm check-tools cover ## run what CI runs, but for fuzz
	@echo 'make check: passed'

check-format:
	@unformatted=$$($(GOFMT) -l .) && test -z "$$unformatted" || { echo "not formatted by gofmt: $$unformatted"; exit 1; }

check-modules:
	$(GO) mod verify
	$(GO) mod tidy -diff
	$(GO) -C $(TOOLS) mod tidy -diff

# Generates into a copy without generated code, so that a file whose source is gone is noticed too.
check-gen:
	rm -rf $(BIN)/.gen
	mkdir -p $(BIN)/.gen
	cp -R proto $(BIN)/.gen/proto
	find $(BIN)/.gen -name '*.pb.go' -delete -o -name '*.binpb' -delete
	$(GO) -C $(TOOLS) run ./protogen -root $(BIN)/.gen/proto -descriptor $(BIN)/.gen/$(CONTRACT)
	git diff --no-index --exit-code proto $(BIN)/.gen/proto
	rm -rf $(BIN)/.gen

check-vet:
	$(GO) vet ./...

check-lint:
	$(GO) -C $(TOOLS) build -o $(BIN)/staticcheck honnef.co/go/tools/cmd/staticcheck
	$(BIN)/staticcheck -tags $(TAGS) ./...

check-wasm:
	CGO_ENABLED=0 GOOS=wasip1 GOARCH=wasm $(GO) build $(WASM_PACKAGES)

check-tools:
	$(GO) -C $(TOOLS) vet ./...
	$(GO) -C $(TOOLS) test ./...

fuzz: ## run each fuzz target for FUZZTIME; a finding is left in testdata/fuzz of its package, to be committed
	@$(GO) -C $(TOOLS) run ./fuzz -root $(CURDIR) -go $(GO) -time $(FUZZTIME) -match '$(FUZZ)' -- $(FUZZARGS)

# Servers under load keep their files here: it must be on the disk that is to be measured, and PostgreSQL must get at it.
BENCH_DIR := $(BIN)/bench
FIGURES    = mkdir -p $(BENCH_DIR) && $(GO) -C $(TOOLS) build -o $(BIN)/pgbench ./pgbench && $(GO) -C $(TOOLS) run ./figures \
	-binary $(BIN)/memory-graph -pgbench $(BIN)/pgbench -docs $(CURDIR)/docs/BENCHMARKS.md -data-dir $(BENCH_DIR)

bench: build ## measure all figures, PostgreSQL's too, and write docs/BENCHMARKS.md (about 6 minutes; ARGS='-row GetNode' prints some)
	$(FIGURES) $(ARGS)

bench-postgres: build ## measure this server against PostgreSQL alone
	$(FIGURES) -only postgres $(ARGS)

bench-large: build ## measure a graph of 10 million nodes (about half an hour, 20 GB; ARGS='-nodes 200000' for fewer)
	$(FIGURES) -only large $(ARGS)

bench-cluster: build ## measure three nodes, against etcd too where it is installed, and write their table (about 15 minutes; ARGS='-nodes 10000000' for a larger graph, '-row GetNode' prints some)
	$(FIGURES) -only cluster $(ARGS)

bench-go: ## run the Go benchmarks, briefly
	$(GO) test -run '^$$' -bench . -benchtime 200ms -benchmem $(UNIT_PACKAGES)

datasets: ## import the published data sets (MEMORY_GRAPH_DATA) and print what was read, beside what their READMEs count
	@mkdir -p $(BIN)
	@$(GO) test -count=1 -run '^TestDataSets$$' ./rpc/importer -table $(BIN)/datasets.txt >$(BIN)/datasets.log || { cat $(BIN)/datasets.log; exit 1; }
	@cat $(BIN)/datasets.txt

# A run tells the figures of each fault in a line of this file; what a failed one leaves behind is beside it.
FAULTS_TABLE := $(BIN)/faults/table.md
faults: ## hurt clusters of three nodes under load, the long form: about half an hour, as root (ARGS='-run Kill', MEMORY_GRAPH_FAULTS_ROUNDS=50)
	@mkdir -p $(dir $(FAULTS_TABLE))
	@printf '| fault | rounds | nobody could write: p50 | p99 | writes | reads | events | calls retried | slowest call |\n|---|---|---|---|---|---|---|---|---|\n' >$(FAULTS_TABLE)
	@MEMORY_GRAPH_FAULTS=long MEMORY_GRAPH_FAULTS_TABLE=$(FAULTS_TABLE) MEMORY_GRAPH_ARTEFACTS=$(BIN)/faults \
		$(GO) test -count=1 -timeout 4h -v $(ARGS) ./jepsen/faults >$(BIN)/faults/log || { tail -n 200 $(BIN)/faults/log; exit 1; }
	@cat $(FAULTS_TABLE)

SEEDS        := 1000
SIM_DURATION := 3m
SIM_FIRST    := 1000
sim: ## run simulated clusters in virtual time, hurt as seeds say, the long form: about an hour (SEEDS=1000, SIM_FIRST=1000, SIM_DURATION=3m)
	@mkdir -p $(BIN)
	@MEMORY_GRAPH_SIM_SEEDS=$(SEEDS) MEMORY_GRAPH_SIM_FIRST=$(SIM_FIRST) MEMORY_GRAPH_SIM_DURATION=$(SIM_DURATION) \
		$(GO) test -count=1 -timeout 24h -run '^TestManySeeds$$' -v ./jepsen/sim >$(BIN)/sim.log || { tail -n 200 $(BIN)/sim.log; exit 1; }
	@sed -n '/^| | |/,$$p' $(BIN)/sim.log

sim-replay: ## replay simulated clusters bit for bit on wazero, to see that they are (a minute or two)
	MEMORY_GRAPH_SIM_REPLAY=1 $(GO) test -count=1 -v ./jepsen/sim/replay

CRASH_ROUNDS := 100
crash: ## kill -9 a server during imports and single writes, again and again (CRASH_ROUNDS=100, MEMORY_GRAPH_CRASH_SEED)
	MEMORY_GRAPH_CRASH_ROUNDS=$(CRASH_ROUNDS) $(GO) test -count=1 -timeout 4h -v -run '^(TestCrash|TestKilledImports)$$' ./jepsen/crash

gen: ## regenerate the Go code of proto/ and the descriptor set of the published contract
	find proto -name '*.pb.go' -delete
	$(GO) -C $(TOOLS) run ./protogen -root ../../proto -descriptor ../../$(CONTRACT)

clean: ## remove what was built
	rm -rf $(BIN) cover.out cover.html
