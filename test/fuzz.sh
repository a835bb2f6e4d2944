#!/bin/bash
# Runs every fuzz target of the module, one after the other: fuzz.sh DURATION
set -euo pipefail

failed=0 count=0
while IFS=: read -r file line; do
	target=${line#func }
	target=${target%%(*}
	count=$((count + 1))
	echo "== $(dirname "$file") $target"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "./$(dirname "$file")" || failed=1
done < <(git grep -E '^func Fuzz[A-Z][A-Za-z0-9]*\(' -- '*_test.go')

if [[ $count -eq 0 ]]; then
	echo "error: no fuzz target found" >&2
	exit 1
fi
echo "$count targets"
exit $failed
