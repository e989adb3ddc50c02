#!/usr/bin/env bash
# A real Kubernetes of one node, for as long as a command runs: node.sh COMMAND [ARGUMENT...]
#
# It lives in network, mount and process namespaces of its own: no port of this machine is taken
# or seen, nothing of it is left when the command has ended. The command runs in there too, with
# KUBECONFIG of the admin, kubectl on its PATH, NODE_ADDRESS, NODE_AUDIT_LOG, where the API server
# writes who asked for what, and NODE_CONTAINERD, the socket of what runs containers. There is loopback, the bridge that the node (10.88.0.1) and
# the pods (10.88.0.0/16) are on, and no way out. Pods have no DNS.
#
# NODE_IMAGES names archives of images, parted by spaces; pods take them with imagePullPolicy
# Never. NODE_LOGS names a folder that is to have the logs of all parts afterwards.
#
# Needs Linux and root; scripts/setup.sh e2e installs the rest.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
fail() { echo "node: $*" >&2; exit 1; }

if [ -z "${NODE_FOLDER:-}" ]; then
  [ $# -gt 0 ] || { sed -n '2,14p' "$0" >&2; exit 2; }
  [ "$(uname -s)" = Linux ] || fail "a node needs Linux"
  [ "$(id -u)" = 0 ] || fail "a node needs root: it makes namespaces, a bridge and containers"
  for tool in containerd ctr runc iptables ip conntrack openssl unshare; do
    command -v "$tool" > /dev/null || fail "$tool is missing: scripts/setup.sh e2e installs it"
  done
  home="${CARGO_TARGET_DIR:-$here/../../../target}/test-cluster"
  NODE_BIN="$("$here/build.sh" node)"
  NODE_PAUSE="$("$here/images.sh" pause)"
  NODE_FOLDER="$(mktemp -d "$(cd "$home" && pwd)/node-XXXXXX")"
  NODE_CGROUP="stream-processor-${NODE_FOLDER##*-}"
  export NODE_BIN NODE_PAUSE NODE_FOLDER NODE_CGROUP
  clean_up() {
    local status=$?
    if [ -n "${NODE_LOGS:-}" ]; then
      mkdir -p "$NODE_LOGS" && cp "$NODE_FOLDER"/*.log "$NODE_LOGS/" 2> /dev/null || true
    fi
    rm -rf "$NODE_FOLDER"
    # Groups cannot be removed as files are: each by itself, the inner ones first.
    find /sys/fs/cgroup -depth -type d -path "*/$NODE_CGROUP*" -exec rmdir {} + 2> /dev/null || true
    exit "$status"
  }
  trap clean_up EXIT
  unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
  exit
fi

address=10.88.0.1 url="https://10.88.0.1:6443"
keys="$NODE_FOLDER/keys" socket="$NODE_FOLDER/containerd/containerd.sock"
cd "$NODE_FOLDER"
export PATH="$NODE_BIN:$PATH"
mkdir cni containerd

declare -A parts=()
# Starts a part of it; its log is named as it is.
part() {
  local name="$1"; shift
  "$@" > "$name.log" 2>&1 &
  parts[$name]=$!
}
# Waits until a command succeeds, for a bounded time, as long as all parts live.
await() {
  local what="$1" name; shift
  for _ in $(seq 400); do
    if "$@" > /dev/null 2>&1; then return; fi
    for name in "${!parts[@]}"; do
      [ -d "/proc/${parts[$name]}" ] || { tail -n 20 "$name.log" >&2; fail "$name has ended"; }
    done
    sleep 0.2
  done
  tail -n 5 ./*.log >&2
  fail "in vain waited for $what"
}

ip link set lo up
ip link add cni0 type bridge
ip address add "$address/16" dev cni0
ip link set cni0 up
sysctl -qw net.ipv4.ip_forward=1
# Sockets and state of this containerd alone.
mount -t tmpfs tmpfs /run
mkdir /run/containerd
# A group of its own in each hierarchy, or in the only one, for all pods.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir "/sys/fs/cgroup/$NODE_CGROUP"
else
  for hierarchy in /sys/fs/cgroup/*/; do
    mkdir "$hierarchy$NODE_CGROUP" 2> /dev/null || true
    # A new group of cpuset has none until it is told.
    for kind in cpus mems; do
      if [ -e "$hierarchy$NODE_CGROUP/cpuset.$kind" ]; then
        cat "${hierarchy}cpuset.$kind" > "$hierarchy$NODE_CGROUP/cpuset.$kind"
      fi
    done
  done
fi

"$here/pki.sh" make "$keys" 127.0.0.1 "$address" 10.96.0.1
for user in admin controller-manager scheduler proxy kubelet; do
  "$here/pki.sh" kubeconfig "$keys" "$url" "$user" > /dev/null
done
export KUBECONFIG="$keys/admin.kubeconfig" NODE_ADDRESS="$address"

part etcd etcd --data-dir etcd --unsafe-no-fsync --log-level warn
part kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
  --bind-address="$address" --advertise-address="$address" \
  --tls-cert-file="$keys/api-server.crt" --tls-private-key-file="$keys/api-server.key" \
  --client-ca-file="$keys/ca.crt" \
  --kubelet-client-certificate="$keys/api-server-client.crt" \
  --kubelet-client-key="$keys/api-server-client.key" --kubelet-preferred-address-types=InternalIP \
  --service-account-key-file="$keys/service-accounts.pub" \
  --service-account-signing-key-file="$keys/service-accounts.key" \
  --service-account-issuer=https://kubernetes.default.svc \
  --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=Node,RBAC \
  --audit-policy-file="$here/audit-policy.yaml" --audit-log-path="$NODE_FOLDER/audit.log" \
  --audit-log-maxsize=4096

cat > containerd/config.toml << END
version = 2
root = "$NODE_FOLDER/containerd/root"
state = "/run/containerd"
[grpc]
  address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/local/pause:1"
  # This machine may be a container itself, which may not lower it.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$NODE_FOLDER/cni"
END
cat > cni/10-bridge.conflist << END
{
  "cniVersion": "1.0.0",
  "name": "bridge",
  "plugins": [{
    "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
    "ipam": {
      "type": "host-local", "dataDir": "$NODE_FOLDER/ipam",
      "ranges": [[{"subnet": "10.88.0.0/16", "rangeStart": "10.88.0.10"}]],
      "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
END
cat > kubelet.yaml << END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: "$keys/ca.crt"}
authorization: {mode: Webhook}
tlsCertFile: "$keys/kubelet.crt"
tlsPrivateKeyFile: "$keys/kubelet.key"
containerRuntimeEndpoint: "unix://$socket"
cgroupDriver: cgroupfs
cgroupRoot: /$NODE_CGROUP
# The node is as old as the machine, and shares it.
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
oomScoreAdj: 0
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
END

part containerd containerd --config containerd/config.toml
ctr() { command ctr --address "$socket" --namespace k8s.io "$@"; }
await containerd ctr version
# shellcheck disable=SC2086 # archives are parted by spaces
for image in "$NODE_PAUSE" ${NODE_IMAGES:-}; do
  ctr images import "$image" > /dev/null || fail "$image is no archive of an image"
done

await "the API server" kubectl get --raw /readyz
part kube-controller-manager kube-controller-manager \
  --kubeconfig="$keys/controller-manager.kubeconfig" --root-ca-file="$keys/ca.crt" \
  --service-account-private-key-file="$keys/service-accounts.key" \
  --use-service-account-credentials --leader-elect=false --bind-address=127.0.0.1
part kube-scheduler kube-scheduler --kubeconfig="$keys/scheduler.kubeconfig" \
  --leader-elect=false --bind-address=127.0.0.1
part kubelet kubelet --config=kubelet.yaml --kubeconfig="$keys/kubelet.kubeconfig" \
  --hostname-override=node1 --node-ip="$address" --root-dir="$NODE_FOLDER/kubelet"
part kube-proxy kube-proxy --kubeconfig="$keys/proxy.kubeconfig" --hostname-override=node1 \
  --proxy-mode=iptables --cluster-cidr=10.88.0.0/16 --bind-address=127.0.0.1 \
  --healthz-bind-address=127.0.0.1:10256 --conntrack-max-per-core=0 --conntrack-min=0
await "the node" kubectl wait --for=condition=Ready node/node1 --timeout=1s
await "service accounts" kubectl -n default get serviceaccount default

cd "$OLDPWD"
export NODE_AUDIT_LOG="$NODE_FOLDER/audit.log" NODE_CONTAINERD="$socket"
unset NODE_FOLDER NODE_BIN NODE_PAUSE NODE_CGROUP
"$@"
