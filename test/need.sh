#!/bin/bash
# Makes sure that programs are there: need.sh PROGRAM...
#
# What is missing is installed from Debian, by root; anybody else is told what
# to install. Nothing is left out because it is missing.
set -euo pipefail
PATH=$PATH:/usr/sbin # where servers are, and not in everybody's PATH

declare -A package=([gcc]="gcc libc6-dev" [make]=make [git]=git [openssl]=openssl [curl]=curl [nginx]=nginx [node]=nodejs [npm]=npm [certtool]=gnutls-bin)

# has PROGRAM: a compiler counts if it has the headers of the C library.
has() {
	command -v "$1" >/dev/null && { [[ $1 != gcc ]] || gcc -E -include stdlib.h -x c /dev/null >/dev/null 2>&1; }
}

missing=()
for program in "$@"; do
	if [[ -z ${package[$program]:-} ]]; then
		echo "error: need.sh does not know which package has $program" >&2
		exit 2
	fi
	has "$program" || missing+=(${package[$program]})
done
((${#missing[@]})) || exit 0

if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
	echo "error: missing: ${missing[*]}" >&2
	echo "hint: apt-get install ${missing[*]}" >&2
	exit 1
fi
# A test starts what it needs by itself. A package starts no service of its own
# as long as this is there, whatever starts services here.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${missing[@]}"
