# What scenarios of the operator use: it is installed for one of them and removed after it, and a
# fleet's status is asked for.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
system=stream-processor-system
topic="persistent://public/default/$E2E_NAMESPACE"
work="$(mktemp -d)"
sent_log="$work/refused"
touch "$work/sent" "$sent_log"
# What a scenario has running; ended with it.
running=()
# The node that it has closed.
closed=''
clean_up() {
  local status=$? process
  rm -f "$work/goes-on"
  [ -z "$closed" ] || kubectl uncordon "$closed" > /dev/null || true
  for process in "${running[@]}"; do kill "$process" 2> /dev/null || true; done
  if [ "$status" != 0 ] && [ "$status" != 77 ]; then
    echo "    the fleets as they were:"
    echo "sent: $(wc -l < "$work/sent") events; last refused by the broker: $(tail -n 1 "$sent_log")"
    kubectl get sp -o wide || true
    kubectl get sp -o 'jsonpath={range .items[*]}{.metadata.name}: {.status}{"\n"}{end}' || true
    kubectl -n "$system" get pods -o wide || true
    kubectl -n "$system" logs deployment/stream-processor-operator --all-pods --tail=30 || true
  fi
  # The operator belongs to the cluster, not to the scenario's namespace. While it is going, no
  # other could be installed.
  [ ! -d "$work/manifests" ] || kubectl delete -k "$work/manifests" --ignore-not-found \
    --timeout=90s > /dev/null 2>&1 || true
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT

# As a person has it: the namespace in the context, the manifests in the working folder.
kubectl config view --flatten --raw > "$work/kubeconfig"
export KUBECONFIG="$work/kubeconfig"
kubectl config set-context --current --namespace="$E2E_NAMESPACE" > /dev/null

# Skips the rest of the scenario where somebody has the operator already.
needs_no_operator() {
  if kubectl get namespace "$system" > /dev/null 2>&1; then
    echo "    it needs a cluster without the operator, as it installs and removes it"
    exit 77
  fi
}

# A copy of the manifests with the image that is tested, and the first sample with the broker that
# is there and sizes that this machine has. A scenario that measures frames a second has them in
# short segments.
copy_manifests() {
  cp -r "$repository/manifests" "$repository/crds" "$work/"
  sed -i "s|ghcr.io/microboxlabs/stream-processor:[^ ]*|$E2E_IMAGE|" \
    "$work/manifests/operator/deployment.yaml"
  local sample="$work/manifests/samples/filesystem.yaml"
  at_this_broker "$sample"
  sed -i "s|^    adminUrl: .*|&\n    topic: $topic|" "$sample"
  cat >> "$sample" << 'YAML'
  processing:
    framesPerSegment: 3
    segmentDurationSeconds: 6
  pod:
    resources:
      requests: {cpu: 50m, memory: 128Mi}
    upkeepResources:
      requests: {cpu: 20m, memory: 64Mi}
YAML
}
# The broker's addresses in a sample.
at_this_broker() {
  sed -i -e "s|serviceUrl: pulsar://.*|serviceUrl: $E2E_PULSAR_URL|" \
    -e "s|adminUrl: .*|adminUrl: $E2E_PULSAR_ADMIN_URL|" "$1"
}
install_operator() {
  copy_manifests
  kubectl apply --server-side -k "$work/manifests" > /dev/null
  kubectl -n "$system" rollout status deployment/stream-processor-operator --timeout=90s \
    > /dev/null || fail "two operators run"
}
# Makes a topic and its subscription, so that what is sent is kept whoever comes first.
create_topic() {
  admin PUT "/admin/v2/$(topic_path "$1")" > /dev/null
  admin PUT "/admin/v2/$(topic_path "$1")/subscription/stream-processor" > /dev/null
}

# The fleet that is asked for.
name=fleet
fleet() { kubectl get sp "$name" -o "jsonpath=$1"; }
change_fleet() { kubectl patch sp "$name" --type=merge -p "$1" > /dev/null; }
condition() { fleet "{.status.conditions[?(@.type==\"$1\")].$2}"; }
has_condition() { [ "$(condition "$1" status)" = "$2" ]; }
# The fleet says that so many workers are ready, of what the spec says now, and so they are: what
# it says may be of a moment ago.
has_workers() {
  kubectl get sp "$name" -o json | jq -e --argjson workers "$1" '.status.observedGeneration == .metadata.generation
      and .status.replicas == $workers and .status.readyReplicas == $workers
      and any(.status.conditions[]?; .type == "Ready" and .status == "True")' > /dev/null \
    && [ "$(ready_pods)" = "$1" ]
}
has_live() { [ "$(fleet '{.status.devices.live}')" = "$1" ]; }
# It stands still for a person, who is told why: $1 the reason, $2 what the message has.
is_stalled() {
  [ "$(condition Stalled status)/$(condition Stalled reason)" = "True/$1" ] \
    && grep -q -- "$2" <<< "$(condition Stalled message)"
}
of_consumer() { echo "app.kubernetes.io/instance=$name,app.kubernetes.io/component=consumer"; }
pods() { k get pods -l "$(of_consumer)" -o name; }
a_pod() { pods | sed -n 1p; }
# How many workers are ready now.
ready_pods() {
  k get pods -l "$(of_consumer)" -o json | jq '[.items[] | select(.metadata.deletionTimestamp == null)
    | select(any(.status.conditions[]?; .type == "Ready" and .status == "True"))] | length'
}
# Notes from now on what becomes of the workers' pods, each change of each: no instant is missed.
watch_workers() {
  watched="$(mktemp -p "$work")"
  k get pods -l "$(of_consumer)" --watch --output-watch-events -o json > "$watched" \
    2> "$work/watch.log" < /dev/null &
  running+=($!)
  await "the workers' pods are watched" test -s "$watched"
}
# How many of them were ready at the worst instant since $1 were. A worker that is told to end is
# not counted any more.
fewest_ready() {
  jq -Rn --argjson begin "$1" 'reduce (inputs | fromjson?) as {$type, object: $pod} ({ready: {}, fewest: null};
    .ready[$pod.metadata.name] = ($type != "DELETED" and $pod.metadata.deletionTimestamp == null
      and any($pod.status.conditions[]?; .type == "Ready" and .status == "True"))
    | ([.ready[] | select(.)] | length) as $now
    | if .fewest == null and $now < $begin then . else .fewest = ([.fewest // $now, $now] | min) end)
    | .fewest' "$watched"
}
changes_of_workers() {
  jq -Rnr 'inputs | fromjson? | .type as $type | .object | [$type, .metadata.name,
      "to end: \(.metadata.deletionTimestamp // "no")",
      (.status.conditions[]? | select(.type == "Ready") | "ready: \(.status) since \(.lastTransitionTime)")]
    | join(", ")' "$watched" | uniq
}
nothing_is_left() {
  local kinds=deployments,replicasets,pods,cronjobs,jobs,services,serviceaccounts,roles,rolebindings
  [ -z "$(k get "$kinds,poddisruptionbudgets,endpointslices" \
    -l "app.kubernetes.io/instance=$name" -o name)" ] && [ -z "$(k get deviceslices -o name)" ]
}
# Sends the process of a pod's container a signal that it is not asked about: $1 the signal, $2 the
# pod's namespace, $3 the pod.
signal() {
  local container
  container="$(kubectl -n "$2" get "$3" -o 'jsonpath={.status.containerStatuses[0].containerID}')"
  ctr --address "$E2E_CONTAINERD" --namespace k8s.io tasks kill --signal "$1" "${container#*://}"
}
leader() { kubectl -n "$system" get lease -o 'jsonpath={.items[0].spec.holderIdentity}'; }
another_leads() { local now; now="$(leader)"; [ -n "$now" ] && [ "$now" != "$1" ]; }
