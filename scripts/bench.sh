#!/usr/bin/env bash
# Measures this clone beside others; arguments: a part (see CONTRIBUTING.md), runs per scenario, part of a scenario's name.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
bash scripts/setup.sh
bash scripts/setup.sh bench
need_commands docker-registry:docker-registry
as_root env PATH="$PATH:/usr/sbin:/sbin" "$(node_bin)" bench/main.ts "$@"
