#!/usr/bin/env bash
# A worker in the cluster makes a stream of what a broker has, and gives all back when it ends.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
needs E2E_PULSAR_ADMIN_URL E2E_STORAGE

topic="persistent://public/default/$E2E_NAMESPACE"
create_claim streams
base="$E2E_STORAGE/$E2E_NAMESPACE/streams"
create_pod worker '["consumer"]' streams "
env:
  - {name: PULSAR_SERVICE_URL, value: '$E2E_PULSAR_URL'}
  - {name: PULSAR_TOPIC, value: '$topic'}
  - {name: PULSAR_SUBSCRIPTION, value: e2e}
  - {name: PROCESSING_FRAMES_PER_SEGMENT, value: '3'}
readinessProbe: {httpGet: {path: /readyz, port: 9090}, periodSeconds: 1}
livenessProbe: {httpGet: {path: /healthz, port: 9090}}"
k wait --for=condition=Ready pod/worker --timeout=60s > /dev/null || fail "the worker becomes ready"
sandbox="$(k logs worker | sed -n 's/.*"sandbox":"\([^"]*\)".*/\1/p')"
grep -qx 'seccomp+.*rlimits' <<< "$sandbox" || fail "its helpers are locked in: $sandbox"
holds "the worker is ready, its helpers are behind $sandbox"

publish_frames "$base" e2e camera-1 "$topic" 6
hls="$base/client_ids/e2e/device_id/camera-1/hls"
await "two segments" test -s "$hls/segments/seg_000001.ts"
await "they are listed" grep -q seg_000001.ts "$hls/playlist.m3u8"
is_h264 "$hls/segments/seg_000000.ts" || fail "they are H.264"
holds "six frames became two segments"

nothing_is_left() { [ "$(subscription "$topic" e2e msgBacklog)" = 0 ]; }
await "nothing is left at the broker" nothing_is_left
k delete pod worker --timeout=40s > /dev/null || fail "it ends when it is asked to"
holds "nothing is left at the broker"
