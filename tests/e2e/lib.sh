# What scenarios have in common; run.sh tells what they find in their environment.
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

# Plays camera and ingest service: $1 the base folder, $2 the client, $3 the device, $4 the topic,
# $5 how many frames, five seconds apart, the last of them now.
publish_frames() {
  local frames="client_ids/$2/device_id/$3/frames" now number path taken messages=()
  mkdir -p "$1/$frames"
  # Readers and writers of it are different users, as they are in a bucket.
  chmod -R a+rwX "$1/client_ids"
  ffmpeg -nostdin -loglevel error -f lavfi -i testsrc2=size=640x360:rate=1 -frames:v "$5" \
    -q:v 4 "$1/$frames/%d.jpg"
  now="$(date +%s)"
  for number in $(seq "$5"); do
    path="$frames/$number.jpg"
    taken="$(date -u -d "@$((now - 5 * ($5 - number)))" +%FT%TZ)"
    messages+=("{\"key\": \"$3\", \"payload\": \"{\\\"eventId\\\": \\\"$3-$now-$number\\\",
      \\\"clientId\\\": \\\"$2\\\", \\\"deviceId\\\": \\\"$3\\\", \\\"timestamp\\\": \\\"$taken\\\",
      \\\"framePath\\\": \\\"$path\\\", \\\"requestId\\\": \\\"e2e\\\"}\"}")
  done
  local list; list="$(IFS=,; tr -d '\n' <<< "${messages[*]}")"
  curl -fsS -o /dev/null -H 'Content-Type: application/json' \
    -d "{\"producerName\": \"e2e-$now\", \"valueSchema\": \"{\\\"name\\\": \\\"\\\", \\\"schema\\\": \\\"\\\", \\\"type\\\": \\\"BYTES\\\", \\\"properties\\\": {}}\", \"messages\": [$list]}" \
    "$E2E_PULSAR_ADMIN_URL/topics/$(sed 's|://|/|' <<< "$4")"
}

# The broker's number $3 (such as msgBacklog) of the subscription $2 of the topic $1.
subscription() {
  curl -fsS "$E2E_PULSAR_ADMIN_URL/admin/v2/$(sed 's|://|/|' <<< "$1")/stats" \
    | sed -n "s/.*\"$2\":{[^{}]*\"$3\":\([0-9]*\).*/\1/p"
}
