#!/usr/bin/env bash
# Generates everything under gen/ from proto/.
#
#   tools/gen.sh          bring gen/ up to date; files that did not change keep their time
#   tools/gen.sh --check  change nothing; fail, with the difference, when gen/ is not current
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
buf=tools/node_modules/.bin/buf
"$buf" generate -o "$out"
"$buf" generate -o "$out" --template buf.gen.openapi.yaml

generated() { (cd "$1" && find gen \( -name '*.pb.go' -o -name '*.pb.gw.go' -o -path 'gen/openapi/*.json' \) -type f | sort); }

if [[ ${1-} == --check ]]; then
  status=0
  while read -r file; do
    diff -u --label "$file (committed)" --label "$file (from proto)" \
      "$([[ -e $file ]] && echo "$file" || echo /dev/null)" "$([[ -e $out/$file ]] && echo "$out/$file" || echo /dev/null)" || status=1
  done < <({ generated .; generated "$out"; } | sort -u)
  [[ $status == 0 ]] || echo "gen/ is not current: run make gen and commit the result" >&2
  exit $status
fi

while read -r file; do
  [[ -e $out/$file ]] || rm "$file"
done < <(generated .)
while read -r file; do
  mkdir -p "$(dirname "$file")"
  cmp -s "$out/$file" "$file" || cp "$out/$file" "$file"
done < <(generated "$out")
