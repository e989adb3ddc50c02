# What the operator's scenario uses: the documented commands, a camera pod, cameras that send, and
# what the streams show.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
work="$(mktemp -d)"
streams=/storage/streams
load=''
clean_up() {
  local status=$?
  [ -z "$load" ] || kill "$load" 2> /dev/null || true
  if [ "$status" != 0 ] && [ "$status" != 77 ]; then
    echo "    the fleet as it was:"
    kubectl get sp -o wide || true
    kubectl get sp fleet -o 'jsonpath={.status}{"\n"}' || true
    kubectl -n stream-processor-system get pods -o wide || true
    kubectl -n stream-processor-system logs deployment/stream-processor-operator \
      --all-pods --tail=30 || true
  fi
  # The operator belongs to the cluster, not to the scenario's namespace.
  [ ! -d "$work/manifests" ] || kubectl delete -k "$work/manifests" --ignore-not-found \
    --wait=false > /dev/null 2>&1 || true
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT

# As a person has it: the namespace in the context, the manifests in the working folder.
kubectl config view --flatten --raw > "$work/kubeconfig"
export KUBECONFIG="$work/kubeconfig"
kubectl config set-context --current --namespace="$E2E_NAMESPACE" > /dev/null

# Runs a command just as README.md or docs/operator.md has it.
documented() {
  in_documents | grep -qxF -- "$1" || fail "README.md or docs/operator.md has the command: $1"
  echo "$1" >> "$work/run"
  (cd "$work" && eval "$1")
}
# All kubectl commands that the documents have, without what is said of them.
in_documents() {
  sed -n 's/^\(kubectl .*\)$/\1/p' "$repository/README.md" "$repository/docs/operator.md" \
    | sed 's/ *#.*//' | sort -u
}

# A copy of the manifests with the image that is tested, and the sample with the broker that is
# there and sizes that this machine has.
copy_manifests() {
  local sample="$work/manifests/samples/filesystem.yaml"
  cp -r "$repository/manifests" "$repository/crds" "$work/"
  sed -i "s|ghcr.io/microboxlabs/stream-processor:[^ ]*|$E2E_IMAGE|" \
    "$work/manifests/operator/deployment.yaml"
  sed -i -e "s|serviceUrl: .*|serviceUrl: $E2E_PULSAR_URL|" -e "s|adminUrl: .*|adminUrl: $E2E_PULSAR_ADMIN_URL\n    topic: $topic|" "$sample"
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

# Asks the broker's admin API: $1 the method, $2 the path, $3 the body.
admin() {
  curl -fsS --max-time 5 -X "$1" -H 'Content-Type: application/json' ${3:+-d "$3"} \
    "$E2E_PULSAR_ADMIN_URL$2"
}

# A pod that has the claim, for what cameras write and viewers read: wherever the claim lies.
create_camera_pod() {
  create_pod camera '[infinity]' streams 'command: [sleep]'
  k wait --for=condition=Ready pod/camera --timeout=60s > /dev/null || fail "the claim is mounted"
}
in_camera() { k exec camera -- sh -c "cd $streams && $1" < /dev/null; }

# Every camera has one picture, which all its events name; camera-7's is broken.
write_frames() {
  local number folder
  for number in 1 2 3 4 5 6 7; do
    folder="$work/frames/client_ids/e2e/device_id/camera-$number/frames"
    mkdir -p "$folder"
    ffmpeg -nostdin -loglevel error -f lavfi -i "testsrc2=size=640x360:rate=1" -vf "hue=h=$((number * 40))" \
      -frames:v 1 -q:v 4 "$folder/view.jpg"
  done
  echo "no picture" > "$folder/view.jpg"
  chmod -R a+rwX "$work/frames"
  tar -C "$work/frames" -c client_ids | k exec -i camera -- sh -c "umask 0; tar -x --no-same-owner -C $streams"
}

# Publishes one event of each camera given, taken now; their ids go to $work/sent once the broker
# has them. Said twice is said once, so it may be tried again.
publish() {
  local tick camera id path messages=() list
  tick="$(date +%s%3N)"
  for camera in "$@"; do
    id="camera-$camera-$tick" path="client_ids/e2e/device_id/camera-$camera/frames/view.jpg"
    messages+=("{\"key\": \"camera-$camera\", \"payload\": \"{\\\"eventId\\\": \\\"$id\\\",
      \\\"clientId\\\": \\\"e2e\\\", \\\"deviceId\\\": \\\"camera-$camera\\\",
      \\\"timestamp\\\": \\\"$(date -u -d "@${tick%???}.${tick: -3}" +%FT%T.%3NZ)\\\",
      \\\"framePath\\\": \\\"$path\\\", \\\"requestId\\\": \\\"e2e\\\"}\"}")
  done
  list="$(IFS=,; tr -d '\n' <<< "${messages[*]}")"
  until admin POST "/topics/${topic/:\/\///}" "{\"producerName\": \"e2e-$tick\", \"valueSchema\": \"{\\\"name\\\": \\\"\\\", \\\"schema\\\": \\\"\\\", \\\"type\\\": \\\"BYTES\\\", \\\"properties\\\": {}}\", \"messages\": [$list]}" > /dev/null 2>&1; do
    [ -d "$work" ] || return
    sleep 1
  done
  for camera in "$@"; do echo "camera-$camera-$tick" >> "$work/sent"; done
}

# Six cameras send, a frame a second each, until stop_cameras.
start_cameras() {
  (
    trap - EXIT
    while [ -d "$work" ] && [ ! -e "$work/stop" ]; do
      publish 1 2 3 4 5 6
      sleep 1
    done
  ) &
  load=$!
}
stop_cameras() {
  touch "$work/stop"
  wait "$load" || true
  load=''
  rm "$work/stop"
}

# The events that the streams show, one a line, as often as they are shown.
shown() {
  in_camera "cat client_ids/e2e/device_id/*/hls/state.json client_ids/e2e/device_id/*/hls/history/* 2> /dev/null" \
    | grep -o '"id":"camera-[^"]*"' | cut -d '"' -f 4
}
nothing_waits() { [ "$(subscription "$topic" stream-processor msgBacklog)" = 0 ]; }
