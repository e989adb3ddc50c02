#!/usr/bin/env bash
# What the operator makes stays as it was made: deleted or edited by hand it is back, and two
# operators write it once. One that leads is stopped, another is killed. With the object all goes.
# shellcheck disable=SC2154 # fleet.sh sets them
. "$(dirname "${BASH_SOURCE[0]}")/../fleet.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../audit.sh"
needs E2E_PULSAR_URL E2E_PULSAR_ADMIN_URL
needs_no_operator

install_operator
# Whoever has the Prometheus operator keeps its kinds.
if ! kubectl get crd podmonitors.monitoring.coreos.com > /dev/null 2>&1; then
  kubectl apply --server-side -f "$repository/tests/e2e/monitoring-crds.yaml" > /dev/null
  kinds_added="$(date +%s)"
fi
create_topic "$topic"
[ -z "${E2E_STORAGE:-}" ] || create_volume streams
sed -i 's/replicas: 2/replicas: 1/' "$work/manifests/samples/filesystem.yaml"
kubectl apply -f "$work/manifests/samples/filesystem.yaml" > /dev/null
await "a worker is ready" has_workers 1

children=(cronjob/fleet-cleanup cronjob/fleet-archive-cleanup service/fleet-metrics
  service/fleet-serve deployment/fleet-serve
  poddisruptionbudget/fleet-consumer rolebinding/fleet-worker role/fleet-worker
  serviceaccount/fleet-worker deployment/fleet-offline-checker deployment/fleet-consumer)

uid() { k get "$1" -o 'jsonpath={.metadata.uid}' 2> /dev/null; }
is_back() { local now; now="$(uid "$1")" && [ -n "$now" ] && [ "$now" != "$2" ]; }
for child in "${children[@]}"; do
  before="$(uid "$child")"
  [ -n "$before" ] || fail "there is $child"
  k delete "$child" > /dev/null
  await "$child is back" is_back "$child" "$before"
done
await "the worker is back" has_workers 1
holds "each of ${#children[@]} children is back when it is deleted"

# What an object says, without what the API server adds at each change.
said_by() { jq -S 'del(.status, .metadata.resourceVersion, .metadata.generation, .metadata.managedFields,
  .metadata.annotations["deployment.kubernetes.io/revision"])'; }
as_it_was() { [ "$(k get "$1" -o json | said_by)" = "$2" ]; }
container='{"spec": {"template": {"spec": {"containers": [{"name": "NAME", "image": "example.invalid/other:1"}]}}}}'
edits=(
  'cronjob/fleet-cleanup {"spec": {"schedule": "0 0 1 1 *", "suspend": true}}'
  'cronjob/fleet-archive-cleanup {"spec": {"concurrencyPolicy": "Allow"}}'
  'service/fleet-metrics {"spec": {"selector": {"app.kubernetes.io/instance": "other"}}}'
  'poddisruptionbudget/fleet-consumer {"spec": {"maxUnavailable": 3}}'
  'rolebinding/fleet-worker {"subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]}'
  'role/fleet-worker {"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]}'
  'serviceaccount/fleet-worker {"automountServiceAccountToken": true}'
  'deployment/fleet-offline-checker {"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}}'
  "deployment/fleet-offline-checker ${container/NAME/offline-checker}"
  'deployment/fleet-consumer {"spec": {"replicas": 2}}'
  "deployment/fleet-consumer ${container/NAME/consumer}"
)
for edit in "${edits[@]}"; do
  child="${edit%% *}"
  before="$(k get "$child" -o json | said_by)"
  edited="$(k patch "$child" --type=strategic -p "${edit#* }" -o json | said_by)"
  [ "$edited" != "$before" ] || fail "the edit changes something: $edit"
  await "it is as it was: $edit" as_it_was "$child" "$before"
done
await "the worker is ready as the spec says" has_workers 1
holds "each of ${#children[@]} children is as it was when it is edited"

# Fields that the operator does not say are the user's.
k annotate deployment/fleet-consumer mine=this > /dev/null
k patch poddisruptionbudget/fleet-consumer --type=merge -p '{"metadata": {"labels": {"mine": "this"}}}' > /dev/null

before="$(leader)"
kubectl -n "$system" delete pod "$before" --wait=false > /dev/null
await "another operator leads" another_leads "$before"
holds "another operator leads when the one that did is stopped"
kubectl -n "$system" rollout status deployment/stream-processor-operator --timeout=60s > /dev/null
# One that does not know that it leads no more: it stands still for longer than its Lease, and
# finds all done when it goes on.
if [ -n "${E2E_CONTAINERD:-}" ]; then
  before="$(leader)"
  SECONDS=0
  signal SIGSTOP "$system" "pod/$before"
  await "another operator leads" another_leads "$before"
  holds "another operator leads $SECONDS s after the one that did stood still"
  child=service/fleet-metrics
  of_child="$(uid "$child")"
  k delete "$child" > /dev/null
  await "$child is back by the next operator" is_back "$child" "$of_child"
  signal SIGCONT "$system" "pod/$before"
  sleep 5
  another_leads "$before" || fail "what stood still leads no more"
fi

if [ -n "${kinds_added:-}" ]; then
  await "the PodMonitor is made" uid podmonitor/fleet
  holds "a PodMonitor is made at most $(($(date +%s) - kinds_added)) s after the cluster knows them"
fi

if [ -n "${E2E_AUDIT_LOG:-}" ]; then
  wrote() { operator_writes | wc -l; }
  # Who begins to lead asks once what waits at the broker.
  sleep 18
  before="$(wrote)"
  sleep 20
  after="$(wrote)"
  [ "$before" = "$after" ] || fail "who has nothing to do writes nothing: $(operator_writes | tail -n 5)"
  holds "nothing was written in 20 s in which nothing changed"
fi

mine="$(k get deployment/fleet-consumer -o 'jsonpath={.metadata.annotations.mine}')$(
  k get poddisruptionbudget/fleet-consumer -o 'jsonpath={.metadata.labels.mine}')"
[ "$mine" = thisthis ] || fail "what the operator does not say is the user's"

kubectl delete sp fleet > /dev/null
await "nothing is left of the fleet" nothing_is_left
gone() { ! k get "$1" > /dev/null 2>&1; }
await "the PodMonitor is gone" gone podmonitor/fleet
sleep 3
nothing_is_left || fail "nothing comes back of the fleet"
holds "deleted: nothing is left of the fleet"

if [ -n "${E2E_AUDIT_LOG:-}" ]; then
  operator_writes > "$work/writes"
  # One led after the other: of no pod is there a write between two of another's.
  turns="$(awk '{ print $2 }' "$work/writes" | uniq)"
  [ -z "$(sort <<< "$turns" | uniq -d)" ] || fail "one operator writes at a time: $turns"
  [ "$(wc -l <<< "$turns")" -ge 2 ] || fail "the audit log tells which operator wrote: $turns"
  # A child is written when it is made, when it was deleted, and when it was edited. What the API
  # server turned down since somebody else was writing it (409) was not written.
  for child in "${children[@]}" podmonitor/fleet; do
    kind="${child%/*}"
    expected="$(printf '%s\n' "$child" "${children[@]}" "${edits[@]}" | sed 's/ .*//' | grep -cx "$child")"
    if [ "$child" = service/fleet-metrics ] && [ -n "${E2E_CONTAINERD:-}" ]; then expected=$((expected + 1)); fi
    written="$(awk -v kind="${kind}s" -v of="$E2E_NAMESPACE/${child#*/}" '$4 == kind && $5 == of && $6 < 400' "$work/writes")"
    [ "$(grep -c . <<< "$written")" = "$expected" ] \
      || fail "$child is written $expected times, as often as there was something to mend: $written"
  done
  holds "$(wc -l <<< "$turns") operators wrote in turn, each child as often as there was something to mend"
  nothing_was_denied "system:serviceaccount:$E2E_NAMESPACE:fleet-worker"
fi
