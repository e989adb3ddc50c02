#!/usr/bin/env bash
# The samples for a bucket and for Redis, with addresses that are there, make streams.
# shellcheck disable=SC2154 # fleet.sh, cameras.sh and servers.sh set them
. "$(dirname "${BASH_SOURCE[0]}")/../fleet.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../cameras.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../servers.sh"
needs E2E_PULSAR_ADMIN_URL E2E_PULSAR_TLS_URL E2E_STORAGE E2E_S3_SERVER
needs_no_operator

# The samples say nothing of a topic.
topic=persistent://streamhub/stream/frames
admin PUT /admin/v2/tenants/streamhub \
  "{\"allowedClusters\": $(admin GET /admin/v2/clusters)}" > /dev/null 2>&1 || true
admin PUT /admin/v2/namespaces/streamhub/stream > /dev/null 2>&1 || true
create_topic "$topic"
install_operator
write_frames
samples="$work/manifests/samples"
# As much of a worker as this machine has room for, and frames as often as they are sent here.
fit() {
  cat >> "$samples/$1.yaml" << 'YAML'
  processing:
    framesPerSegment: 3
  pod:
    resources:
      requests: {cpu: 50m, memory: 128Mi}
YAML
}

start_s3 sa-east-1 camera-streams streams
for camera in "${cameras[@]}"; do
  ask_s3 PUT "$(frame_path "$camera")" -T "$work/frames/$(frame_path "$camera")" > /dev/null
done
k create secret generic s3 --from-literal=accessKeyId="$s3_key" \
  --from-literal=secretAccessKey="$s3_secret" > /dev/null
k create secret generic pulsar --from-file=token="$E2E_PULSAR_TOKEN_FILE" > /dev/null
# The broker here has an authority of its own, the object server no certificate.
k create secret generic authority --from-file=ca.crt="$E2E_PULSAR_CA_FILE" > /dev/null
sed -i -e "s|serviceUrl: .*|serviceUrl: $E2E_PULSAR_TLS_URL\n    tls: {caSecretRef: {name: authority}}|" \
  -e "s|region: .*|&\n      endpoint: $s3|" "$samples/s3.yaml"
fit s3
name=fleet-s3
kubectl apply -f "$samples/s3.yaml" > /dev/null
await "the fleet with a bucket is ready" has_workers 2
start_cameras
in_bucket() { ask_s3 GET "$(playlist_path "$1")" | grep '^segments/'; }
for camera in "${cameras[@]}"; do await "camera-$camera is in the bucket" in_bucket "$camera"; done
await "six devices are live" has_live 6
stop_cameras
segment="client_ids/e2e/device_id/camera-1/hls/$(ask_s3 GET "$(playlist_path 1)" | sed -n '/^segments/p' | sed -n 1p)"
ask_s3 GET "$segment" > "$work/segment.ts"
is_h264 "$work/segment.ts" || fail "$segment is H.264"
await "nothing waits at the broker" nothing_waits
holds "manifests/samples/s3.yaml, by TLS and token: $(kubectl get sp "$name" --no-headers | tr -s ' ')"
kubectl delete sp "$name" > /dev/null
await "nothing is left of it" nothing_is_left

start_redis
create_claim streams
cp -r "$work/frames/client_ids" "$E2E_STORAGE/$E2E_NAMESPACE/streams/"
chmod -R a+rwX "$E2E_STORAGE/$E2E_NAMESPACE/streams"
k create secret generic redis --from-literal=url="$redis" > /dev/null
at_this_broker "$samples/redis.yaml"
fit redis
name=fleet-redis
kubectl apply -f "$samples/redis.yaml" > /dev/null
await "the fleet with Redis is ready" has_workers 2
start_cameras
in_claim() { grep -q '^segments/' "$E2E_STORAGE/$E2E_NAMESPACE/streams/$(playlist_path "$1")"; }
for camera in "${cameras[@]}"; do await "camera-$camera is in the claim" in_claim "$camera"; done
told() {
  [ "$(ask_redis EXISTS "stream:session:e2e:camera-$1" "hls:segments:e2e:camera-$1")" = 2 ]
}
for camera in "${cameras[@]}"; do await "Redis is told of camera-$camera" told "$camera"; done
await "six devices are live" has_live 6
stop_cameras
await "nothing waits at the broker" nothing_waits
holds "manifests/samples/redis.yaml: $(kubectl get sp "$name" --no-headers | tr -s ' ')"
holds "Redis has $(ask_redis --scan | wc -l) keys: $(ask_redis --scan --pattern '*camera-1*' | sort | tr '\n' ' ')"
kubectl delete sp "$name" > /dev/null
await "nothing is left of it" nothing_is_left
