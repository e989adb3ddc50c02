#!/usr/bin/env bash
# Builds the programs of a Kubernetes cluster from the Go module proxy, once.
#
#   build.sh control-plane   etcd, kube-apiserver, kube-controller-manager, kubectl
#   build.sh node            these, kube-scheduler, kubelet and kube-proxy
#
# Prints the folder that has them, below target/test-cluster. A program is built again when
# go/go.mod, which pins all of them, has changed. The first run takes some minutes and leaves
# about 3 GB in Go's cache; several at once wait for one another. Needs Go, no C compiler.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
home="${CARGO_TARGET_DIR:-$here/../../../target}/test-cluster"

programs=(etcd kube-apiserver kube-controller-manager kubectl)
case "${1:-}" in
  control-plane) ;;
  node) programs+=(kube-scheduler kubelet kube-proxy) ;;
  *) sed -n '2,10p' "$0" >&2; exit 2 ;;
esac

mkdir -p "$home/bin" && home="$(cd "$home" && pwd)"
exec 9> "$home/bin.lock"
flock 9
stamp="$(cat "$here/go/go.mod" "$here/go/go.sum" "$0" | cksum)"

# A program asks itself for its version, and refuses what does not fit: builds outside of the
# Kubernetes tree have none unless they are told.
version="$(sed -n 's|^\tk8s.io/kubernetes v\([0-9.]*\).*|\1|p' "$here/go/go.mod")"
flags="-s -w"
for package in k8s.io/client-go/pkg/version k8s.io/component-base/version; do
  flags+=" -X $package.gitVersion=v$version -X $package.gitMajor=${version%%.*}"
  flags+=" -X $package.gitMinor=$(cut -d. -f2 <<< "$version") -X $package.gitTreeState=clean"
done

for program in "${programs[@]}"; do
  [ "$(cat "$home/bin/$program.stamp" 2> /dev/null)" = "$stamp" ] && continue
  case "$program" in
    etcd) package=go.etcd.io/etcd/server/v3 ;;
    *) package="k8s.io/kubernetes/cmd/$program" ;;
  esac
  echo "building $program, once: this takes seconds to minutes" >&2
  (cd "$here/go" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$flags" \
    -o "$home/bin/$program" "$package" 9>&-)
  echo "$stamp" > "$home/bin/$program.stamp"
done
echo "$home/bin"
