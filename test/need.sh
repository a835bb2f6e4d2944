#!/bin/bash
# Makes sure that programs are there: need.sh PROGRAM...
#
# What is missing is installed from Debian, by root; anybody else is told what
# to install. Nothing is left out because it is missing.
set -euo pipefail

declare -A package=([gcc]="gcc libc6-dev" [make]=make [git]=git [openssl]=openssl [nginx]=nginx-light [node]=nodejs [npm]=npm [certtool]=gnutls-bin)

missing=()
for program in "$@"; do
	if [[ -z ${package[$program]:-} ]]; then
		echo "error: need.sh does not know which package has $program" >&2
		exit 2
	fi
	command -v "$program" >/dev/null || missing+=(${package[$program]})
done
((${#missing[@]})) || exit 0

if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
	echo "error: missing: ${missing[*]}" >&2
	echo "hint: apt-get install ${missing[*]}" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# A test starts what it needs by itself. At this runlevel a package starts no
# service of its own.
export RUNLEVEL=1
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${missing[@]}"
