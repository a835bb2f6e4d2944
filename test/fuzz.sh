#!/bin/bash
# Runs every fuzz target of the module for a while: fuzz.sh DURATION
#
# As many packages at the same time as there are processors, their targets one
# after the other, each on one processor: so the time goes into trying inputs,
# and not into building, starting and minimizing.
set -euo pipefail
cd "$(dirname "$0")/.."

# targets prints PACKAGE TARGET, a line each.
targets() {
	git grep -E '^func Fuzz[A-Z][A-Za-z0-9]*\(' -- '*_test.go' | sed -E 's#^(.*)/[^/]*:func (Fuzz[A-Za-z0-9]*)\(.*#./\1 \2#'
}

# fuzz DURATION PACKAGE TARGET...
fuzz() {
	local duration=$1 package=$2 failed=0 test out target
	shift 2
	test=$scratch/${package//\//-}
	go test -c -fuzz . -o "$test" "$package"
	cd "$package"
	for target in "$@"; do
		if out=$("$test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$duration" -test.fuzzminimizetime 50x \
			-test.parallel 1 -test.fuzzcachedir "$cache/${package#./}" 2>&1); then
			echo "== $package $target: $(grep -o 'execs: [0-9]*' <<<"$out" | tail -1)"
		else
			echo "== $package $target FAILED"$'\n'"$out"
			failed=1
		fi
	done
	rm "$test"
	return $failed
}
export -f fuzz

export scratch cache
scratch=$(mktemp -d)
cache=$(go env GOCACHE)/fuzz/$(go list -m)
trap 'rm -rf "$scratch"' EXIT
count=$(targets | wc -l)
if [[ $count -eq 0 ]]; then
	echo "error: no fuzz target found" >&2
	exit 1
fi
targets | awk '{ of[$1] = of[$1] " " $2 } END { for (p in of) print p of[p] }' | sort |
	xargs -P "$(nproc)" -L 1 bash -euc 'fuzz "$0" "$@"' "$1"
echo "$count targets"
