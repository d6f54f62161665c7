#!/usr/bin/env bash
# The whole check: packages, format and lint (with one-way dependencies), types, then all tests with real runc,
# overlayfs and docker-registry. Arguments go to the test runner: `npm test -- test/store`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
bash scripts/setup.sh test
PATH="$(dirname "$(node_bin)"):$PWD/node_modules/.bin:$PATH:/usr/sbin:/sbin"
export PATH
say "lint"
npm run --silent lint
say "types"
npm run --silent types
say "tests"
report=$(mktemp -d)
trap 'as_root rm -rf "$report"' EXIT
status=0
as_root env PATH="$PATH" node node_modules/vitest/vitest.mjs run --reporter=default --reporter=json \
  --outputFile.json="$report/report.json" "$@" || status=$?
node -e '
  const r = JSON.parse(require("node:fs").readFileSync(process.argv[1], "utf8"));
  const suites = r.testResults.filter((t) => t.status === "failed" && t.assertionResults.length === 0).length;
  console.log(`${r.numPassedTests} passed, ${r.numFailedTests + suites} failed`);' "$report/report.json"
exit "$status"
