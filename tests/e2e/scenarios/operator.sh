#!/usr/bin/env bash
# From an empty cluster to playing streams by the documented commands: install, a fleet, what it
# says of its cameras, monitoring, upgrade and removal. Namespaces enforce the restricted Pod
# Security Standard throughout.
# shellcheck disable=SC2154 # fleet.sh and cameras.sh set them
. "$(dirname "${BASH_SOURCE[0]}")/../fleet.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../cameras.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../documents.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../audit.sh"
needs E2E_PULSAR_URL E2E_PULSAR_ADMIN_URL
needs_no_operator

playlist="$(playlist_path 1)"
copy_manifests
create_topic "$topic"
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

write_frames
start_cameras
begun="$(now_millis)"
documented 'kubectl apply -f manifests/samples/filesystem.yaml' > /dev/null
create_camera_pod
put_frames_into_the_claim
first_segment() { in_camera "grep -q '^segments/' $playlist"; }
await "a first segment is listed" first_segment
took_millis=$(($(now_millis) - begun))
holds "from apply to the first listed segment: $((took_millis / 1000)).$((took_millis % 1000 / 100)) s"
await "two workers are ready" has_workers 2
(documented 'kubectl get sp -w' > "$work/watched" & watcher=$!; sleep 2; kill "$watcher") || true
await "six devices are live" has_live 6
documented 'kubectl get sp' | sed 's/^/    /'
grep -Eq '^fleet +True +2 +6 +6 +0 ' <<< "$(kubectl get sp fleet --no-headers)" \
  || fail "all of it is in one line"
documented_to_say 'kubectl describe sp fleet' 'pods are ready'
documented_to_say 'kubectl explain sp.spec.processing' framesPerSegment
documented_to_say 'kubectl get dslice -l streamhub.microboxlabs.com/processor=fleet' fleet-consumer

in_camera "cat $playlist" > "$work/playlist.m3u8"
grep -q '^#EXT-X-TARGETDURATION:' "$work/playlist.m3u8" || fail "the playlist is one"
while read -r segment; do
  in_camera "cat client_ids/e2e/device_id/camera-1/hls/$segment" > "$work/segment.ts"
  is_h264 "$work/segment.ts" || fail "$segment is H.264"
done < <(grep -v '^#' "$work/playlist.m3u8" | sed -n 1,3p)
holds "the playlist lists $(grep -vc '^#' "$work/playlist.m3u8") segments, its first are H.264"
browser="$repository/tests/browser"
has_browser() { [ -d "$browser/node_modules" ] && command -v chromium > /dev/null; }
# Plays the playlist $1, a path or an address; $2 is from where.
plays() {
  local verdict
  verdict="$(node "$browser/play-live.mjs" --secs 10 --start-secs 40 --stall-secs 3 --edge-segments 10 \
    "$1")" || fail "it plays in Chromium $2: $verdict"
  holds "it plays in Chromium $2: $(grep -o '"playedSecs":[0-9.]*' <<< "$verdict")"
}
if [ -z "${E2E_STORAGE:-}" ] || ! has_browser; then
  holds "not played: that takes Chromium, the packages of tests/browser, and a claim on this machine"
else
  # A player that starts at the live edge wants some segments before it.
  six_listed() { [ "$(in_camera "grep -vc '^#' $playlist")" -ge 6 ]; }
  await "six segments are listed" six_listed
  plays "$E2E_STORAGE/$E2E_NAMESPACE/streams/$playlist" "from the claim"
fi

documented_meanwhile 'kubectl port-forward service/fleet-serve 8088:80' "$work/forwarded"
served=http://localhost:8088
is_served() { [ "$(curl -fsS "$served/api/devices" | jq .counts.live)" = 6 ]; }
await "the page has six live cameras" is_served
curl -fsS "$served/$playlist" > "$work/served.m3u8"
grep -q '^segments/' "$work/served.m3u8" || fail "the playlist is served: $(cat "$work/served.m3u8")"
holds "six cameras are served by the Service fleet-serve"
if has_browser; then plays "$served/$playlist" "as it is served"; fi

documented 'kubectl scale sp/fleet --replicas=3' > /dev/null
await "three workers are ready" has_workers 3
stop_cameras
each_is_shown_once
holds "three workers: $(wc -l < "$work/shown") events, each shown once"

camera_is_found() {
  publish "$(now_millis)" "$broken"
  documented 'kubectl get sp fleet -o yaml' > "$work/fleet.yaml"
  grep -q "deviceId: camera-$broken" "$work/fleet.yaml" && grep -q 'state: failing' "$work/fleet.yaml"
}
await "the broken camera is found" camera_is_found
why="$(fleet "{.status.deviceStatuses[?(@.deviceId==\"camera-$broken\")].error}")"
[ -n "$why" ] || fail "it is said why"
holds "the broken camera is found: $why"

if ! kubectl get crd podmonitors.monitoring.coreos.com > /dev/null 2>&1; then
  kubectl apply --server-side -f "$repository/tests/e2e/monitoring-crds.yaml" > /dev/null
  kubectl wait --for=condition=Established crd/podmonitors.monitoring.coreos.com \
    crd/prometheusrules.monitoring.coreos.com > /dev/null
fi
documented 'kubectl apply --server-side -k manifests/monitoring' > "$work/monitoring"
grep -q prometheusrule "$work/monitoring" || fail "alerts are applied: $(cat "$work/monitoring")"
holds "monitoring is applied: $(wc -l < "$work/monitoring") objects"

documented 'kubectl apply --server-side -k manifests' > /dev/null
documented 'kubectl delete sp fleet' > /dev/null
await "nothing is left of the fleet" nothing_is_left
in_camera "test -s $playlist" || fail "the streams are still there"
holds "deleted: nothing is left of the fleet, the streams are still there"
[ -z "${E2E_AUDIT_LOG:-}" ] || nothing_was_denied "system:serviceaccount:$E2E_NAMESPACE:fleet-worker"

documented 'kubectl delete sp --all -A' > /dev/null
k delete pod camera --grace-period=0 --force > /dev/null 2>&1
kubectl delete -k "$work/manifests/monitoring" > /dev/null
documented 'kubectl delete -k manifests' > /dev/null
if kubectl get crd streamprocessors.streamhub.microboxlabs.com > /dev/null 2>&1; then
  fail "the definitions are gone"
fi
all_documented_were_run
holds "each of $(in_documents | wc -l) documented commands has been run"
