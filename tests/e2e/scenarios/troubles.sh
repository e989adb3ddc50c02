#!/usr/bin/env bash
# What is missing is told by name and heals by itself: a claim, a storage class, a secret, a key of
# it, and Pulsar, before a fleet's first start and while it runs.
# shellcheck disable=SC2154 # fleet.sh sets them
. "$(dirname "${BASH_SOURCE[0]}")/../fleet.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../cameras.sh"
needs E2E_PULSAR_URL E2E_PULSAR_ADMIN_URL
needs_no_operator

install_operator
create_topic "$topic"
# The fleet alone: its claim is made later.
sed '1,/^---$/d; s/replicas: 2/replicas: 1/' "$work/manifests/samples/filesystem.yaml" > "$work/fleet.yaml"
kubectl apply -f "$work/fleet.yaml" > /dev/null
await "a missing claim is told by name" is_stalled ReferenceMissing 'PersistentVolumeClaim streams '
[ -z "$(pods)" ] || fail "nothing is started without it: $(pods)"
holds "without the claim: $(condition Stalled message)"

claim_of_class() {
  k create -f - > /dev/null << END
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: streams}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: $1
  resources: {requests: {storage: 1Gi}}
END
}
class="$E2E_NAMESPACE-late"
claim_of_class "$class"
await "a missing storage class is told by name" is_stalled ReferenceMissing "storage class $class "
holds "without the storage class: $(condition Stalled message)"
# Of the kind that makes a volume for the first pod alone: the claim does not change.
kubectl create -f - > /dev/null << END
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: $class}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
END
await "it goes on by itself" has_condition Stalled False
holds "with it, it goes on by itself: $(condition Ready message)"
kubectl delete storageclass "$class" > /dev/null
kubectl delete sp fleet > /dev/null
await "nothing is left of the fleet" nothing_is_left
k delete pvc streams > /dev/null

if [ -n "${E2E_BROKER:-}" ]; then "$E2E_BROKER" crash e2e; fi
[ -z "${E2E_STORAGE:-}" ] || create_volume streams
k apply -f "$work/manifests/samples/filesystem.yaml" > /dev/null
change_fleet '{"spec": {"replicas": 1, "redis": {"urlSecretRef": {"name": "redis-login"}}}}'
await "a missing secret is told by name" is_stalled ReferenceMissing 'secret redis-login '
holds "without the secret: $(condition Stalled message)"
k create secret generic redis-login --from-literal=uri=redis://192.0.2.1:6379 > /dev/null
await "a missing key is told by name" is_stalled ReferenceMissing 'no key url'
holds "without its key: $(condition Stalled message)"
k patch secret redis-login --type=merge -p '{"stringData": {"url": "redis://192.0.2.1:6379"}}' > /dev/null
await "it goes on by itself" has_condition Stalled False
change_fleet '{"spec": {"redis": null}}'

says_pulsar() { has_condition Ready False && grep -qi 'pulsar\|broker' <<< "$(condition Ready message)"; }
is_unready() { [ "$(ready_pods)" = 0 ] && [ -n "$(pods)" ]; }
if [ -n "${E2E_BROKER:-}" ]; then
  await "that the broker is not there at the start is told" says_pulsar
  is_unready || fail "no worker is ready without the broker"
  holds "started without the broker: $(condition Ready message)"
  "$E2E_BROKER" resume e2e > /dev/null
fi
await "a worker is ready" has_workers 1
holds "all is there: $(condition Ready message)"

if [ -n "${E2E_BROKER:-}" ]; then
  create_camera_pod
  write_frames
  put_frames_into_the_claim
  start_cameras
  first_segment() { in_camera "grep -q '^segments/' $(playlist_path 1)"; }
  await "a first segment is listed" first_segment
  restarts() { k get pods -l "$(of_consumer)" -o 'jsonpath={.items[*].status.containerStatuses[*].restartCount}'; }
  before="$(pods)/$(restarts)"
  "$E2E_BROKER" crash e2e
  await "that the broker is gone is told" says_pulsar
  await "no worker is ready" is_unready
  holds "without the broker: $(condition Ready message)"
  "$E2E_BROKER" resume e2e > /dev/null
  await "it heals by itself" has_workers 1
  [ "$(pods)/$(restarts)" = "$before" ] || fail "no worker is started again for that: $before"
  sleep 5
  stop_cameras
  each_is_shown_once
  holds "it heals by itself, $(wc -l < "$work/shown") events are shown once"
fi
