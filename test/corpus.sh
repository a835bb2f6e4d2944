#!/bin/bash
# Takes a handful of what `make fuzz` has found into the tree, where every run of
# the tests tries it: corpus.sh [PACKAGE...]
#
# Of the inputs in the fuzz cache those are taken that reach statements of this
# module which neither the seeds of the target reach nor what is in
# testdata/fuzz already; that which reaches most first, of equals the smallest.
# Nothing is ever removed: what once failed stays. To begin anew, delete the
# folder of the target first.
set -euo pipefail
cd "$(dirname "$0")/.."

most=10              # inputs of a target, with those that it has
largest=1500         # bytes of one
candidates=200       # are looked at
secret='PRIVATE KEY' # is in nothing that is taken: scanners look for it

scratch=$(mktemp -d)
placed= # the folder that has candidates in it
trap 'tidy; rm -rf "$scratch"' EXIT
module=$(go list -m)
cache=$(go env GOCACHE)/fuzz/$module
export GOCOVERDIR=$scratch

# tidy removes the candidates.
tidy() {
	if [[ -n $placed ]]; then
		rm -f "$placed"/candidate-*
		find "$placed" "${placed%/*}" "${placed%/fuzz/*}" -maxdepth 0 -empty -delete
	fi
	placed=
}

# reached TEST PATTERN prints the statements that a test reaches, a line each.
reached() {
	if ! "$1" -test.run "$2" -test.coverprofile "$scratch/profile" >"$scratch/out" 2>&1; then
		cat "$scratch/out" >&2
		return 1
	fi
	awk '$3 > 0 && !/^mode:/ { print $1 }' "$scratch/profile"
}

# choose ROOM reads lines of STATEMENT FILE, of the smaller files first, and
# prints the files to take; those of the file "known" are reached without.
choose() {
	awk -v room="$1" '
		$2 == "known" { known[$1]; next }
		$1 in known { next }
		!($2 in rank) { rank[$2] = ++files; name[files] = $2 }
		{ of[$2] = of[$2] " " $1 }
		END {
			for (; room > 0; room--) {
				best = 0
				for (i = 1; i <= files; i++) {
					n = split(of[name[i]], statements, " "); gain = 0
					for (j = 1; j <= n; j++) gain += !(statements[j] in known)
					if (gain > best) { best = gain; taken = i }
				}
				if (best == 0) exit
				print name[taken]
				n = split(of[name[taken]], statements, " ")
				for (j = 1; j <= n; j++) known[statements[j]]
			}
		}'
}

# take TEST CACHE TARGET puts inputs of the cache into testdata/fuzz/TARGET of
# the folder that it is run in.
take() {
	local test=$1 found=$2/$3 target=$3 file name have new=0
	[[ -d $found ]] || return 0
	placed=$PWD/testdata/fuzz/$target
	mkdir -p "$placed"
	have=$(find "$placed" -type f | wc -l)
	reached "$test" "^$target\$" | sed 's/$/ known/' >"$scratch/statements"
	while read -r file; do
		name=candidate-$(basename "$file")
		cp "$file" "$placed/$name"
		reached "$test" "^$target\$/^$name\$" | sed "s/\$/ $name/" >>"$scratch/statements"
	done < <(grep -rLF "$secret" "$found" | xargs -r stat -c '%s %n' | awk -v most=$largest '$1 <= most' |
		sort -n | head -n $candidates | cut -d ' ' -f 2-)
	while read -r name; do
		mv "$placed/$name" "$placed/${name#candidate-}"
		new=$((new + 1))
	done < <(choose $((most - have)) <"$scratch/statements")
	tidy
	echo "== $package $target: $new new, $((have + new)) in all"
}

if (($# == 0)); then
	mapfile -t packages < <(git grep -lE '^func Fuzz[A-Z]' -- '*_test.go' | xargs -n 1 dirname | sort -u | sed 's#^#./#')
	set -- "${packages[@]}"
fi
for package; do
	go test -c -cover -coverpkg "$(go list -deps "$package" | grep "^$module" | paste -sd ,)" -o "$scratch/test" "$package"
	cd "$package"
	for target in $("$scratch/test" -test.list '^Fuzz'); do
		take "$scratch/test" "$cache/${package#./}" "$target"
	done
	cd - >"$scratch/out"
done
