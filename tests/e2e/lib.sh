# What scenarios have in common; run.sh tells what they find in their environment. A pipe fails
# if any part of it does: no part may end before it has read all, as `grep -q` and `head` do.
# shellcheck shell=bash
set -euo pipefail

fail() { echo "    not so: $*" >&2; exit 1; }
holds() { echo "    $*"; }
k() { kubectl -n "$E2E_NAMESPACE" "$@"; }

# Skips the rest of the scenario, saying why, where something is missing.
needs() {
  local name
  for name in "$@"; do
    [ -n "${!name:-}" ] || { echo "    it needs $name"; exit 77; }
  done
}

# Creates a pod of the image that the restricted standard admits, with a read-only root: $1 its
# name, $2 its arguments as a JSON list, $3 the claim that is its storage (none: it is empty, and
# goes with the pod), $4 more of its container as lines of YAML. /tmp is kept in memory.
create_pod() {
  local storage="emptyDir: {}"
  [ -z "${3:-}" ] || storage="persistentVolumeClaim: {claimName: $3}"
  k create -f - > /dev/null << END
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  terminationGracePeriodSeconds: 60
  volumes:
    - {name: tmp, emptyDir: {medium: Memory, sizeLimit: 128Mi}}
    - {name: storage, $storage}
  containers:
    - name: stream-processor
      image: $E2E_IMAGE
      imagePullPolicy: $E2E_PULL_POLICY
      args: $2
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: storage, mountPath: /storage/streams}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      resources:
        requests: {cpu: 100m, memory: 128Mi}
        limits: {memory: 768Mi}
$(sed 's/^/      /' <<< "${4:-}")
END
}

# Waits until the pod has ended well.
await_end() {
  local phase
  for _ in $(seq 300); do
    phase="$(k get pod "$1" -o 'jsonpath={.status.phase}')"
    case "$phase" in
      Succeeded) return ;;
      Failed) k logs "$1" >&2 || true; fail "$1 ended well" ;;
    esac
    sleep 0.3
  done
  fail "$1 ended: it is $phase"
}

# Waits until a command succeeds: $1 what is waited for.
await() {
  local what="$1"; shift
  for _ in $(seq 300); do
    if "$@" > /dev/null 2>&1; then return; fi
    sleep 0.3
  done
  fail "$what"
}

# Makes a volume of the folder $1 of E2E_STORAGE, for the claim of that name; creates the folder.
create_volume() {
  mkdir -p "$E2E_STORAGE/$E2E_NAMESPACE/$1"
  # Pods write there as the image's user.
  chmod 0777 "$E2E_STORAGE/$E2E_NAMESPACE/$1"
  k create -f - > /dev/null << END
apiVersion: v1
kind: PersistentVolume
metadata: {name: "$E2E_NAMESPACE-$1"}
spec:
  capacity: {storage: 1Ti}
  accessModes: [ReadWriteMany]
  storageClassName: ""
  hostPath: {path: "$E2E_STORAGE/$E2E_NAMESPACE/$1", type: Directory}
  claimRef: {namespace: "$E2E_NAMESPACE", name: "$1"}
END
}

# Makes such a volume and its claim.
create_claim() {
  create_volume "$1"
  k create -f - > /dev/null << END
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: "$1"}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: ""
  volumeName: "$E2E_NAMESPACE-$1"
  resources: {requests: {storage: 1Gi}}
END
}

# Whether a file is video as browsers play it.
is_h264() {
  local found
  found="$(ffprobe -v error -show_entries stream=codec_name -of csv=p=0 "$1" 2>&1)" || return
  grep -q h264 <<< "$found"
}

# Asks the broker's admin API: $1 the method, $2 the path, $3 the body.
admin() {
  curl -fsS --max-time 5 -X "$1" -H 'Content-Type: application/json' ${3:+-d "$3"} \
    "$E2E_PULSAR_ADMIN_URL$2"
}

# The path of a topic in the admin API.
topic_path() { echo "${1/:\/\///}"; }

# Prints a message of the admin API: $1 the event, $2 the client, $3 the device, $4 when the
# picture was taken in milliseconds, $5 where it is.
frame_message() {
  local event
  event="{\"eventId\":\"$1\",\"clientId\":\"$2\",\"deviceId\":\"$3\",\"timestamp\":\"$(
    date -u -d "@${4%???}.${4: -3}" +%FT%T.%3NZ)\",\"framePath\":\"$5\",\"requestId\":\"e2e\"}"
  printf '{"key":"%s","payload":"%s"}' "$3" "${event//\"/\\\"}"
}

as_bytes='{\"name\": \"\", \"schema\": \"\", \"type\": \"BYTES\", \"properties\": {}}'
# Gives the broker messages for the topic $1 as a producer of the name $2: the others. A topic
# takes its first schema from whoever publishes first, and from then on its version only.
send_messages() {
  local topic producer body schema
  topic="/topics/$(topic_path "$1")" producer="$2"; shift 2
  body="$(IFS=,; echo "$*")"
  for schema in '"schemaVersion": 0' "\"valueSchema\": \"$as_bytes\""; do
    admin POST "$topic" "{\"producerName\": \"$producer\", $schema, \"messages\": [$body]}" \
      > /dev/null 2> "${sent_log:-/dev/null}" && return
  done
  return 1
}

# Plays camera and ingest service: $1 the base folder, $2 the client, $3 the device, $4 the topic,
# $5 how many frames, five seconds apart, the last of them now.
publish_frames() {
  local frames="client_ids/$2/device_id/$3/frames" now number messages=()
  mkdir -p "$1/$frames"
  # Readers and writers of it are different users, as they are in a bucket.
  chmod -R a+rwX "$1/client_ids"
  ffmpeg -nostdin -loglevel error -f lavfi -i testsrc2=size=640x360:rate=1 -frames:v "$5" \
    -q:v 4 -y "$1/$frames/%d.jpg"
  now="$(date +%s)"
  for number in $(seq "$5"); do
    messages+=("$(frame_message "$3-$now-$number" "$2" "$3" "$((now - 5 * ($5 - number)))000" \
      "$frames/$number.jpg")")
  done
  send_messages "$4" "e2e-$now" "${messages[@]}" || fail "the broker takes the events"
}

# The broker's number $3 (such as msgBacklog) of the subscription $2 of the topic $1.
subscription() {
  admin GET "/admin/v2/$(topic_path "$1")/stats" | sed -n "s/.*\"$2\":{[^{}]*\"$3\":\([0-9]*\).*/\1/p"
}
