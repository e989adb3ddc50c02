#!/usr/bin/env bash
# The image in a real Kubernetes with a real broker: run.sh [SCENARIO...]
#
# Runs the scenarios of that name in tests/e2e/scenarios, all of them by default. A scenario is a
# program that finds these in its environment and ends with 0 if all holds, or with 77 if it cannot
# tell for want of something:
#
#   KUBECONFIG             of an admin; kubectl is on the PATH
#   E2E_NAMESPACE          a namespace of its own that enforces the restricted Pod Security
#                          Standard; it is deleted afterwards
#   E2E_IMAGE              the image
#   E2E_PULL_POLICY        how pods get it
#   E2E_PULSAR_URL         pulsar://…, as pods reach the broker; empty if there is none
#   E2E_PULSAR_ADMIN_URL   http://…, of the broker's admin API; empty if there is none
#   E2E_STORAGE            a folder of the only node, which is this machine, for volumes; empty in
#                          a cluster of yours
#   E2E_OTHER_IMAGE        another name of the same image; empty if there is none
#   E2E_BROKER             a program that takes `crash e2e` and `resume e2e`, which end the broker
#                          and start it again; empty in a cluster of yours
#   E2E_AUDIT_LOG          the API server's; empty in a cluster of yours
#   E2E_PULSAR_TLS_URL     pulsar+ssl://…, of the same broker, whose authority is in the file
#   E2E_PULSAR_CA_FILE     of this name, and which takes the token in the file
#   E2E_PULSAR_TOKEN_FILE  of this one; all three empty in a cluster of yours
#   E2E_ADDRESS            of this machine, as pods reach it; empty in a cluster of yours
#   E2E_CONTAINERD         the socket of the node's; empty in a cluster of yours
#   E2E_S3_SERVER          versitygw; empty in a cluster of yours
#
# By default all of it is made here, as root, from Debian's packages and the Go module proxy, and
# is gone afterwards: the image of target/release/stream-processor (of E2E_BINARY, if that is
# set), the node, the broker. With --where-possible it says why and ends well where that cannot be.
#
# A cluster of yours takes E2E_KUBECONFIG, E2E_IMAGE (which it can pull), kubectl and, for the
# scenarios that need a broker, E2E_PULSAR_URL and E2E_PULSAR_ADMIN_URL. Then nothing is built.
# Only one without stream-processor's operator is taken for that one's scenario.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cluster="$here/../support/cluster"
broker="$here/../support/broker/run.sh"
target="${CARGO_TARGET_DIR:-$here/../../target}"
say() { echo "e2e: $*"; }
fail() { echo "e2e: $*" >&2; exit 1; }

in_node='' where_possible=''
case "${1:-}" in
  --in-node) in_node=yes; shift ;;
  --where-possible) where_possible=yes; shift ;;
esac
names=("$@")
if [ ${#names[@]} = 0 ]; then
  for name in "$here"/scenarios/*.sh; do names+=("$(basename "$name" .sh)"); done
fi
for name in "${names[@]}"; do
  [ -x "$here/scenarios/$name.sh" ] || fail "there is no scenario named $name"
done

run_scenarios() {
  local name status passed=() skipped=() failed=()
  for name in "${names[@]}"; do
    export E2E_NAMESPACE="e2e-$name-$$"
    kubectl create namespace "$E2E_NAMESPACE" > /dev/null
    kubectl label namespace "$E2E_NAMESPACE" pod-security.kubernetes.io/enforce=restricted \
      pod-security.kubernetes.io/warn=restricted > /dev/null
    # Pods are refused before it is there.
    kubectl -n "$E2E_NAMESPACE" wait --for=create serviceaccount/default --timeout=30s > /dev/null
    say "$name"
    status=0
    SECONDS=0
    "$here/scenarios/$name.sh" || status=$?
    if [ "$status" = 0 ]; then
      passed+=("$name")
      say "$name: passed in $SECONDS s"
    elif [ "$status" = 77 ]; then
      skipped+=("$name")
      say "$name: skipped"
    else
      failed+=("$name")
      say "$name: FAILED after $SECONDS s. This is how it was:"
      kubectl -n "$E2E_NAMESPACE" get all -o wide || true
      kubectl -n "$E2E_NAMESPACE" get events --sort-by=.lastTimestamp | tail -n 20 || true
      for pod in $(kubectl -n "$E2E_NAMESPACE" get pods -o name || true); do
        kubectl -n "$E2E_NAMESPACE" logs --all-containers --prefix --tail=30 "$pod" || true
      done
    fi
    kubectl delete namespace "$E2E_NAMESPACE" --wait=false > /dev/null
  done
  say "passed: ${passed[*]:-none}; skipped: ${skipped[*]:-none}; failed: ${failed[*]:-none}"
  [ ${#failed[@]} = 0 ] || exit 1
}

# In the node's namespaces: the broker, at an address that pods reach, then the scenarios.
if [ -n "$in_node" ]; then
  trap '"$broker" stop e2e' EXIT
  address="$(BROKER_HOST="$NODE_ADDRESS" "$broker" start e2e)"
  # shellcheck disable=SC1090 # it is written by the line above
  . "$address"
  export E2E_PULSAR_URL="pulsar://$HOST:$BROKER_PORT" E2E_PULSAR_ADMIN_URL="http://$HOST:$ADMIN_PORT"
  export E2E_PULSAR_TLS_URL="pulsar+ssl://$HOST:$TLS_PORT"
  export E2E_PULSAR_CA_FILE="${address%/*}/ca.pem" E2E_PULSAR_TOKEN_FILE="${address%/*}/token"
  export E2E_PULL_POLICY=Never E2E_AUDIT_LOG="$NODE_AUDIT_LOG" E2E_BROKER="$broker"
  export E2E_ADDRESS="$NODE_ADDRESS" E2E_CONTAINERD="$NODE_CONTAINERD"
  say "node and broker are up after $(($(date +%s) - E2E_BEGUN)) s"
  run_scenarios
  exit
fi

if [ -n "${E2E_KUBECONFIG:-}" ]; then
  [ -n "${E2E_IMAGE:-}" ] || fail "with E2E_KUBECONFIG, set E2E_IMAGE to an image that the cluster can pull"
  command -v kubectl > /dev/null || fail "kubectl is missing"
  export KUBECONFIG="$E2E_KUBECONFIG" E2E_PULL_POLICY=IfNotPresent E2E_STORAGE=
  export E2E_AUDIT_LOG='' E2E_BROKER='' E2E_OTHER_IMAGE="${E2E_OTHER_IMAGE:-}" E2E_ADDRESS=''
  export E2E_PULSAR_TLS_URL='' E2E_PULSAR_CA_FILE='' E2E_PULSAR_TOKEN_FILE='' E2E_S3_SERVER='' E2E_CONTAINERD=''
  export E2E_PULSAR_URL="${E2E_PULSAR_URL:-}" E2E_PULSAR_ADMIN_URL="${E2E_PULSAR_ADMIN_URL:-}"
  run_scenarios
  exit
fi

[ -z "${E2E_IMAGE:-}" ] || fail "E2E_IMAGE is for a cluster of yours: set E2E_KUBECONFIG as well"
# Says that it cannot be done here, and why.
cannot() {
  if [ -n "$where_possible" ]; then
    say "NOT TESTED in a real Kubernetes: $*. make e2e does it elsewhere"
    exit 0
  fi
  fail "$*. Set E2E_KUBECONFIG and E2E_IMAGE to use a cluster of yours"
}
[ "$(uname -s)" = Linux ] || cannot "a node needs Linux"
[ "$(id -u)" = 0 ] || cannot "a node needs root"
for tool in containerd ctr runc iptables ip conntrack buildah debootstrap jq redis-cli ffmpeg java mvn go \
  chromium node npm; do
  command -v "$tool" > /dev/null || cannot "$tool is missing: scripts/setup.sh e2e installs it"
done
why_not="$("$cluster/probe.sh")" || cannot "$why_not"
binary="${E2E_BINARY:-$target/release/stream-processor}"
[ -x "$binary" ] || fail "$binary is not there: make build first"
# The context has the binary where the Dockerfile looks for it, wherever the target folder is.
context="$(mktemp -d)"
E2E_STORAGE="$(mktemp -d)"
trap 'rm -rf "$context" "$E2E_STORAGE"' EXIT
mkdir -p "$context/target/release"
# A debug build is three times as large with its symbols.
strip -o "$context/target/release/stream-processor" "$binary"
cp "$here/../../LICENSE" "$context/"
E2E_IMAGE=local/stream-processor:e2e E2E_OTHER_IMAGE=docker.io/local/stream-processor:e2e
# The broker's data and the images are in one place: one run after the other.
mkdir -p "$target"
exec 7> "$target/e2e.lock"
flock 7
SECONDS=0
"$cluster/build.sh" node > /dev/null
browser="$here/../browser"
[ -d "$browser/node_modules" ] || npm ci --no-audit --no-fund --prefix "$browser" > /dev/null
E2E_S3_SERVER="$("$here/../support/servers/build.sh" go github.com/versity/versitygw/cmd/versitygw)"
say "Kubernetes and the object server are there after $SECONDS s"
SECONDS=0
NODE_IMAGES="$("$cluster/images.sh" build "$E2E_IMAGE" "$here/../../Dockerfile" "$context" --target prebuilt)"
say "the image is there after $SECONDS s: $(du -m "$NODE_IMAGES" | cut -f1) MiB"
E2E_BEGUN="$(date +%s)" NODE_LOGS="$target/test-cluster/logs"
export E2E_STORAGE E2E_IMAGE E2E_OTHER_IMAGE E2E_S3_SERVER E2E_BEGUN NODE_IMAGES NODE_LOGS
# What pods write there belongs to the image's user.
chmod 0777 "$E2E_STORAGE"
"$cluster/node.sh" "$here/run.sh" --in-node "${names[@]}"
