#!/bin/sh
# Puts the contract in place that @llm-dev-ops/llm-memory-graph-client 0.1.0 opens, for the project in the folder given, or in the
# working folder. `memory-graph npm-repair` does the same without this repository.
set -eu
modules=${1:-.}/node_modules/@llm-dev-ops
[ -d "$modules/llm-memory-graph-client" ] || { echo "$0: $modules/llm-memory-graph-client is not there: npm install it first" >&2; exit 1; }
mkdir -p "$modules/proto"
cp "$(dirname "$0")/memory_graph.proto" "$modules/proto/memory_graph.proto"
echo "repaired: $modules/proto/memory_graph.proto"
