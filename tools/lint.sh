#!/usr/bin/env bash
# Every check that needs no running service. It goes through all of them and fails at the end,
# naming those that failed. `make lint` builds the tools it uses.
set -uo pipefail
cd "$(dirname "$0")/.."

modules=(gen services bench tools)
buf=tools/node_modules/.bin/buf
base=${LINT_BASE:-main} # the branch that contracts must not break against
failed=()

check() {
  local name=$1 start=$SECONDS
  shift
  echo "== $name"
  if "$@"; then
    echo "   ok ($((SECONDS - start)) s)"
  else
    failed+=("$name")
    echo "   FAILED"
  fi
}

formatted() {
  local files
  files=$(git ls-files -z --cached --others --exclude-standard -- '*.go' | xargs -0 ls -d 2>/dev/null | xargs gofmt -l)
  [[ -z $files ]] || { echo "gofmt -w these:"; echo "$files"; return 1; }
}

# contracts compares proto/ with that of the base branch. The branch is exported first: the
# third-party files that its protos import are not in git.
contracts() {
  local ref tmp status=0
  ref=$(git rev-parse --verify -q "$base^{commit}" || git rev-parse --verify -q "origin/$base^{commit}") || {
    echo "   no branch $base to compare with"
    return 0
  }
  git cat-file -e "$ref:proto" 2>/dev/null || { echo "   $base has no contracts yet"; return 0; }
  tmp=$(mktemp -d)
  git archive "$ref" buf.yaml proto | tar -x -C "$tmp"
  mkdir -p "$tmp/tools"
  cp -R tools/protos "$tmp/tools/protos"
  "$buf" breaking --against "$tmp" || status=1
  rm -rf "$tmp"
  return $status
}

each_module() {
  local module status=0
  for module in "${modules[@]}"; do
    GOWORK=off go -C "$module" "$@" || { echo "in module $module"; status=1; }
  done
  return $status
}

# linted runs golangci-lint in each module that has hand-written code.
linted() {
  local module status=0
  for module in services bench tools; do
    (cd "$module" && GOWORK=off ../tools/bin/golangci-lint run --config ../.golangci.yml ./...) || status=1
  done
  return $status
}

check "gofmt" formatted
check "buf lint" "$buf" lint
check "buf format" "$buf" format --diff --exit-code proto
check "contracts do not break against $base" contracts
check "gen/ is current" tools/gen.sh --check
check "go.work builds" go build ./gen/... ./services/... ./bench/...
check "each module builds by itself" each_module vet ./...
check "go mod tidy" each_module mod tidy -diff
check "golangci-lint" linted

if ((${#failed[@]})); then
  printf 'lint failed: %s\n' "$(IFS=,; echo "${failed[*]}" | sed 's/,/, /g')"
  exit 1
fi
echo "lint passed"
