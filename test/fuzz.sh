#!/bin/bash
# Runs every fuzz target of the module for a while: fuzz.sh DURATION
#
# As many run at the same time as there are processors, each on one, so that the
# time goes into trying inputs and not into building, starting and minimizing.
set -euo pipefail

fuzz() {
	local out
	out=$(go test -run '^$' -fuzz "^$3\$" -fuzztime "$1" -fuzzminimizetime 50x -parallel 1 "$2" 2>&1) || { echo "== $2 $3 FAILED"$'\n'"$out"; exit 1; }
	echo "== $2 $3: $(grep -o 'execs: [0-9]*' <<<"$out" | tail -1)"
}
export -f fuzz

targets=$(git grep -hE '^func Fuzz[A-Z][A-Za-z0-9]*\(' -- '*_test.go' | wc -l)
if [[ $targets -eq 0 ]]; then
	echo "error: no fuzz target found" >&2
	exit 1
fi
git grep -E '^func Fuzz[A-Z][A-Za-z0-9]*\(' -- '*_test.go' |
	sed -E 's#^(.*)/[^/]*:func (Fuzz[A-Za-z0-9]*)\(.*#./\1 \2#' |
	xargs -P "$(nproc)" -L 1 bash -c 'fuzz "$0" "$@"' "$1"
echo "$targets targets"
