#!/bin/bash
# Runs what takes too long for every change, part after part: night.sh
#
# By day the same tests go a shorter way; packages in which nothing is longer by
# night are not run again. A part that fails keeps no other one from running.
# What each has taken is told at the end.
set -uo pipefail
cd "$(dirname "$0")/.."

table= failed=0

# part NAME COMMAND...
part() {
	local name=$1 began=$SECONDS verdict=ok
	shift
	printf '\n== %s, after %d min: %s\n' "$name" $((SECONDS / 60)) "$*"
	"$@" || verdict=FAILED failed=1
	table+=$(printf '%-24s %5.1f min  %s' "$name" "$((10 * (SECONDS - began) / 60))e-1" "$verdict")$'\n'
}

# nightly prints the packages below folders that have tests with a longer way.
nightly() { git grep -l GATEHOUSE_NIGHTLY -- "$@" | xargs -n 1 dirname | sort -u | sed 's#^#./#'; }

mapfile -t units < <(nightly '*_test.go' ':!test' ':!bench')
mapfile -t programs < <(nightly 'test/*_test.go' ':!test/oracle' ':!test/siege' ':!test/durability')
mapfile -t oracles < <(nightly 'test/oracle/*_test.go')

part 'short tests, repeated' make race
part 'fuzz targets' make fuzz FUZZTIME=60s
export GATEHOUSE_NIGHTLY=1
part 'packages' go test -race -count 1 -timeout 30m "${units[@]}"
part 'programs' go test -race -count 1 -timeout 30m "${programs[@]}"
part 'programs under load' go test -race -p 1 -count 1 -timeout 40m ./test/durability ./test/siege
# Each is a module, and computes on one processor.
part 'oracles' xargs -P "$(nproc)" -I {} go -C {} test -count 1 -timeout 30m ./... <<<"$(printf '%s\n' "${oracles[@]}")"
printf '\n%s%-24s %5.1f min\n' "$table" 'all' "$((10 * SECONDS / 60))e-1"
exit $failed
