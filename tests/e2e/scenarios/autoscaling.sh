#!/usr/bin/env bash
# The sample with autoscaling: what waits at the broker brings workers, and takes them again.
# shellcheck disable=SC2154 # fleet.sh and cameras.sh set them
. "$(dirname "${BASH_SOURCE[0]}")/../fleet.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../cameras.sh"
needs E2E_PULSAR_URL E2E_PULSAR_ADMIN_URL
needs_no_operator

install_operator
create_topic "$topic"
[ -z "${E2E_STORAGE:-}" ] || create_volume streams
# The claim that it names is that of the other sample.
sed '/^---$/,$d' "$work/manifests/samples/filesystem.yaml" | kubectl apply -f - > /dev/null
sample="$work/manifests/samples/autoscaling.yaml"
at_this_broker "$sample"
sed -i -e "s|^    adminUrl: .*|&\n    topic: $topic|" -e 's|cpu: "1"|cpu: 50m|' \
  -e 's|memory: 1Gi|memory: 128Mi|' "$sample"
name=fleet-autoscaling
kubectl apply -f "$sample" > /dev/null
create_camera_pod
write_frames
put_frames_into_the_claim
await "two workers are ready" has_workers 2
is_informed() { has_condition ScalingActive True; }
await "there is something to decide by" is_informed
holds "as the sample says: $(condition ScalingActive message)"

# A worker gives an event back when its segment is there. As long as segments are, so much waits.
change_fleet '{"spec": {"processing": {"segmentDurationSeconds": 45, "framesPerSegment": 600},
  "autoscaling": {"maxReplicas": 4, "targetBacklogPerReplica": 50, "scaleDownStabilizationSeconds": 15}}}'
await "the workers are rolled" has_workers 2
start_cameras
scaled_up() { [ "$(fleet '{.status.replicas}')" -ge 3 ]; }
await "what waits brings workers" scaled_up
grep -q 'messages wait, 50 for each worker' <<< "$(condition ScalingActive message)" \
  || fail "it is said why: $(condition ScalingActive message)"
holds "up: $(condition ScalingActive message)"
[ "$(subscription "$topic" stream-processor msgBacklog)" -gt 100 ] || fail "so much waits indeed"
stop_cameras
await "workers go when little waits" has_workers 2
holds "down: $(condition ScalingActive message)"
each_is_shown_once
holds "$(wc -l < "$work/shown") events, each shown once"
kubectl delete sp "$name" > /dev/null
await "nothing is left of it" nothing_is_left
