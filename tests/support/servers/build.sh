#!/usr/bin/env bash
# Builds a program of one of the Go modules beside this file, once: build.sh MODULE PACKAGE
#
# Prints its path, below target/servers: the last part of the package's name is its own. It is
# built again when the module has changed. Several at once wait for one another. Needs Go, no C
# compiler.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
[ $# = 2 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
home="${CARGO_TARGET_DIR:-$here/../../../target}/servers"
mkdir -p "$home" && home="$(cd "$home" && pwd)"
cd "$here/$1"
program="$home/${2##*/}"
exec 9> "$program.lock"
flock 9
stamp="$(find . -type f -print0 | sort -z | xargs -0 cksum)"
if [ "$(cat "$program.stamp" 2> /dev/null)" != "$stamp" ]; then
  CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='-s -w' -o "$program" "$2" 9>&-
  echo "$stamp" > "$program.stamp"
fi
echo "$program"
