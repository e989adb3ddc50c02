#!/usr/bin/env bash
# From an empty cluster to playing streams by the documented commands: install, a fleet, what is
# deleted comes back, more and fewer workers, another image, a broken camera, no broker, upgrade
# and removal. Namespaces enforce the restricted Pod Security Standard throughout.
. "$(dirname "${BASH_SOURCE[0]}")/../fleet.sh"
needs E2E_PULSAR_URL E2E_PULSAR_ADMIN_URL
if kubectl get namespace stream-processor-system > /dev/null 2>&1; then
  echo "    it needs a cluster without the operator, as it installs and removes it"
  exit 77
fi

topic="persistent://public/default/$E2E_NAMESPACE"
playlist=client_ids/e2e/device_id/camera-1/hls/playlist.m3u8
fleet() { kubectl get sp fleet -o "jsonpath=$1"; }
condition() { fleet "{.status.conditions[?(@.type==\"$1\")].$2}"; }
has_condition() { [ "$(condition "$1" status)" = "$2" ]; }
is_ready() { has_condition Ready True && [ "$(fleet '{.status.observedGeneration}')" = "$(fleet '{.metadata.generation}')" ]; }
has_workers() { [ "$(fleet '{.status.replicas}/{.status.readyReplicas}')" = "$1/$1" ] && is_ready; }
pods() { k get pods -l app.kubernetes.io/instance=fleet,app.kubernetes.io/component=consumer -o name; }

copy_manifests
admin PUT "/admin/v2/${topic/:\/\///}" > /dev/null
admin PUT "/admin/v2/${topic/:\/\///}/subscription/stream-processor" > /dev/null
[ -z "${E2E_STORAGE:-}" ] || create_volume streams

documented 'kubectl apply --server-side -k manifests' > /dev/null
documented 'kubectl -n stream-processor-system rollout status deployment/stream-processor-operator' \
  > /dev/null || fail "two operators run"
holds "the operator is installed by one command"

refusal="$(sed 's|serviceUrl: .*|serviceUrl: localhost|' "$work/manifests/samples/filesystem.yaml" \
  | kubectl create --dry-run=server -f - 2>&1 || true)"
grep -q 'write pulsar.serviceUrl as pulsar://host:6650' <<< "$refusal" \
  || fail "a wrong spec is refused with what to write: $refusal"
holds "a wrong spec is refused with what to write"

start_cameras
begun="$(date +%s%3N)"
documented 'kubectl apply -f manifests/samples/filesystem.yaml' > /dev/null
create_camera_pod
write_frames
first_segment() { in_camera "grep -q '^seg' $playlist || grep -q 'segments/' $playlist"; }
await "a first segment is listed" first_segment
holds "from apply to the first listed segment: $((($(date +%s%3N) - begun) / 100)) tenths of a second"
await "two workers are ready" has_workers 2
(documented 'kubectl get sp -w' > "$work/watched" & watcher=$!; sleep 2; kill "$watcher") || true
six_live() { [ "$(fleet '{.status.devices.live}')" = 6 ]; }
await "six devices are live" six_live
documented 'kubectl get sp' | sed 's/^/    /'
kubectl get sp fleet --no-headers | grep -Eq '^fleet +True +2 +6 +6 +0 ' || fail "all of it is in one line"
documented 'kubectl describe sp fleet' | grep -q 'Ready' || fail "it is described"
documented 'kubectl explain sp.spec.processing' | grep -q 'framesPerSegment' || fail "fields are explained"
documented 'kubectl get dslice -l streamhub.microboxlabs.com/processor=fleet' | grep -q 'fleet' \
  || fail "there are slices of devices"

in_camera "cat $playlist" > "$work/playlist.m3u8"
grep -q '^#EXT-X-TARGETDURATION:' "$work/playlist.m3u8" || fail "the playlist is one"
while read -r segment; do
  in_camera "cat client_ids/e2e/device_id/camera-1/hls/$segment" > "$work/segment.ts"
  found="$(ffprobe -v error -show_entries stream=codec_name -of csv=p=0 "$work/segment.ts" 2>&1 || true)"
  grep -q h264 <<< "$found" || fail "$segment is H.264: $found"
done < <(grep -v '^#' "$work/playlist.m3u8" | head -n 3)
holds "the playlist lists $(grep -vc '^#' "$work/playlist.m3u8") segments, its first are H.264"
browser="$repository/tests/browser"
if [ -z "${E2E_STORAGE:-}" ] || [ ! -d "$browser/node_modules" ] || ! command -v chromium > /dev/null; then
  holds "not played: that takes Chromium, the packages of tests/browser, and a claim on this machine"
else
  # A player that starts at the live edge wants some segments before it.
  six_listed() { [ "$(in_camera "grep -vc '^#' $playlist")" -ge 6 ]; }
  await "six segments are listed" six_listed
  verdict="$(node "$browser/play-live.mjs" --secs 10 --start-secs 40 --stall-secs 3 --edge-segments 10 \
    "$E2E_STORAGE/$E2E_NAMESPACE/streams/$playlist")" || fail "it plays in Chromium: $verdict"
  holds "it plays in Chromium: $(grep -o '"playedSecs":[0-9.]*' <<< "$verdict")"
fi

uid() { k get "$1" -o 'jsonpath={.metadata.uid}' 2> /dev/null; }
is_back() { local now; now="$(uid "$1")" && [ -n "$now" ] && [ "$now" != "$2" ]; }
children=(cronjob/fleet-cleanup cronjob/fleet-archive-cleanup service/fleet-metrics poddisruptionbudget/fleet-consumer
  rolebinding/fleet-worker role/fleet-worker serviceaccount/fleet-worker
  deployment/fleet-offline-checker deployment/fleet-consumer)
for child in "${children[@]}"; do
  before="$(uid "$child")"
  [ -n "$before" ] || fail "there is $child"
  k delete "$child" > /dev/null
  await "$child is back" is_back "$child" "$before"
done
await "the workers are back" has_workers 2
holds "each of ${#children[@]} children is back when it is deleted"

leader() { kubectl -n stream-processor-system get lease -o 'jsonpath={.items[0].spec.holderIdentity}'; }
before="$(leader)"
kubectl -n stream-processor-system delete pod "$before" --wait=false > /dev/null
another_leads() { local now; now="$(leader)"; [ -n "$now" ] && [ "$now" != "$before" ]; }
await "another operator leads" another_leads
holds "another operator leads when the one that did is stopped"

kubectl scale sp/fleet --replicas=1 > /dev/null
await "one worker is left" has_workers 1
documented 'kubectl scale sp/fleet --replicas=3' > /dev/null
await "three workers are ready" has_workers 3
sleep 5
k delete "$(pods | head -n 1)" --grace-period=0 --force > /dev/null 2>&1
await "three workers are ready again" has_workers 3
if [ -n "${E2E_OTHER_IMAGE:-}" ]; then
  before="$(pods | sort)"
  kubectl patch sp fleet --type=merge -p "{\"spec\": {\"image\": \"$E2E_OTHER_IMAGE\"}}" > /dev/null
  all_new() { has_workers 3 && [ -z "$(comm -12 <(echo "$before") <(pods | sort))" ]; }
  await "another image rolls the workers" all_new
  images="$(k get pods -l app.kubernetes.io/instance=fleet -o 'jsonpath={.items[*].spec.containers[*].image}')"
  [ -z "$(tr ' ' '\n' <<< "$images" | grep -vxF "$E2E_OTHER_IMAGE")" ] || fail "all have it: $images"
  holds "another image rolls the workers, one more before one less"
fi
kubectl scale sp/fleet --replicas=1 > /dev/null
await "one worker is left again" has_workers 1
sleep 5
stop_cameras
await "nothing waits at the broker" nothing_waits
all_shown() { [ "$(shown | sort -u | wc -l)" -ge "$(wc -l < "$work/sent")" ]; }
await "all events are shown" all_shown
shown | sort > "$work/shown"
[ -z "$(uniq -d "$work/shown")" ] || fail "no event is shown twice: $(uniq -d "$work/shown" | head)"
[ -z "$(comm -3 "$work/shown" <(sort -u "$work/sent"))" ] \
  || fail "what was sent is shown: $(comm -3 "$work/shown" <(sort -u "$work/sent") | head)"
holds "workers 2, 1, 3, one killed, rolled, 1: $(wc -l < "$work/shown") events, each shown once"

camera_is_found() {
  publish 7
  documented 'kubectl get sp fleet -o yaml' > "$work/fleet.yaml"
  grep -q 'deviceId: camera-7' "$work/fleet.yaml" && grep -q 'state: failing' "$work/fleet.yaml"
}
await "the broken camera is found" camera_is_found
why="$(fleet '{.status.deviceStatuses[?(@.deviceId=="camera-7")].error}')"
[ -n "$why" ] || fail "it is said why"
holds "the broken camera is found: $why"

if [ -n "${E2E_BROKER:-}" ]; then
  "$E2E_BROKER" crash e2e
  await "that the broker is gone is told" has_condition Ready False
  says_pulsar() { condition Ready message | grep -qi 'pulsar\|broker'; }
  await "it is told by name" says_pulsar
  holds "without the broker: $(condition Ready message)"
  "$E2E_BROKER" resume e2e > /dev/null
  await "it heals by itself" has_workers 1
  holds "it heals by itself when the broker is back"
fi

documented 'kubectl apply --server-side -k manifests' > /dev/null
documented 'kubectl delete sp fleet' > /dev/null
kinds=deployments,replicasets,pods,cronjobs,jobs,services,serviceaccounts,roles,rolebindings
nothing_left() {
  [ -z "$(k get "$kinds,poddisruptionbudgets" -l app.kubernetes.io/instance=fleet -o name)" ] \
    && [ -z "$(k get deviceslices -o name)" ]
}
await "nothing is left of the fleet" nothing_left
in_camera "test -s $playlist" || fail "the streams are still there"
holds "deleted: nothing is left of the fleet, the streams are still there"

if [ -n "${E2E_AUDIT_LOG:-}" ]; then
  users='"username":"system:serviceaccount:\(stream-processor-system:stream-processor-operator\|'"$E2E_NAMESPACE"':fleet-worker\)"'
  calls="$(grep -c "$users" "$E2E_AUDIT_LOG")"
  denied="$(grep "$users" "$E2E_AUDIT_LOG" | grep '"authorization.k8s.io/decision":"forbid"' || true)"
  [ -z "$denied" ] || fail "operator and workers are denied nothing: $(tail -n 3 <<< "$denied")"
  holds "none of $calls calls of operator and workers was denied"
fi

documented 'kubectl delete sp --all -A' > /dev/null
k delete pod camera --grace-period=0 --force > /dev/null 2>&1
documented 'kubectl delete -k manifests' > /dev/null
if kubectl get crd streamprocessors.streamhub.microboxlabs.com > /dev/null 2>&1; then
  fail "the definitions are gone"
fi
left="$(comm -23 <(in_documents) <(sort -u "$work/run"))"
[ -z "$left" ] || fail "each documented command has been run: $left"
holds "each of $(in_documents | wc -l) documented commands has been run"
