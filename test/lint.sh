#!/bin/bash
# Checks the code without running it: lint.sh STATICCHECK
#
# The checks are built with the race detector's flag, so that they share the
# compiled packages of the tests.
set -uo pipefail
staticcheck=$(realpath "$1")
failed=0

# step NAME COMMAND...: a step fails by its exit code, or by saying anything.
step() {
	local name=$1 out code=0
	shift
	out=$("$@" 2>&1) || code=$?
	if [[ $code -ne 0 || -n $out ]]; then
		printf 'FAIL %s\n%s\n' "$name" "$out" >&2
		failed=1
	else
		printf 'ok   %s\n' "$name"
	fi
}

# current: go generate changes nothing that git knows.
current() {
	local before
	go -C tools mod download || return # or go generate would speak of it
	before=$(git diff)
	go generate ./... || return
	[[ $(git diff) == "$before" ]] || {
		git diff --stat
		echo "generated files are not current: run make generate"
		return 1
	}
}

step gofmt gofmt -l .
step vet env GOFLAGS=-race go vet ./...
step examples env GOFLAGS=-race go -C examples/guard vet ./...
step bench env GOFLAGS=-race go -C bench vet ./...
step staticcheck env GOFLAGS=-race "$staticcheck" ./...
step generate current
exit $failed
