#!/usr/bin/env bash
# Cameras send all the time while workers come and go: killed, evicted by a drain, more, fewer,
# another image. No stream waits for long, none gets a seam, and each frame is shown once.
# shellcheck disable=SC2154 # fleet.sh and cameras.sh set them
. "$(dirname "${BASH_SOURCE[0]}")/../fleet.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../cameras.sh"
needs E2E_PULSAR_URL E2E_PULSAR_ADMIN_URL
needs_no_operator

# A device that is further behind than this is late: three segments.
late_millis=18000
# Nothing that was done since $1 made a stream wait for as long: $2 what was done.
no_stream_waited() {
  local oldest
  sleep 2
  oldest="$(oldest_playlist_millis "$1")" || fail "the playlists are looked at: $(cat "$work/ages.log")"
  [ "$oldest" -lt "$late_millis" ] \
    || fail "$2: no stream is late, and one was published $oldest ms ago"
  holds "$2, and no playlist was older than $((oldest / 1000)).$((oldest % 1000 / 100)) s"
}

# Scales to $1 workers: $2 what is waited for, $3 what was done.
scales_to() {
  local begun
  begun="$(now_millis)"
  kubectl scale "sp/$name" --replicas="$1" > /dev/null
  await "$2" has_workers "$1"
  sleep 5
  no_stream_waited "$begun" "$3"
}

install_operator
create_topic "$topic"
[ -z "${E2E_STORAGE:-}" ] || create_volume streams
kubectl apply -f "$work/manifests/samples/filesystem.yaml" > /dev/null
create_camera_pod
write_frames
put_frames_into_the_claim
start_cameras
for camera in "${cameras[@]}"; do
  first_segment() { in_camera "grep -q '^segments/' $(playlist_path "$camera")"; }
  await "camera-$camera has a first segment" first_segment
done
await "two workers are ready" has_workers 2
watch_playlists
sleep 5

scales_to 1 "one worker is left" "two workers became one"

scales_to 3 "three workers are ready" "one worker became three"

begun="$(now_millis)"
k delete "$(a_pod)" --grace-period=0 --force > /dev/null 2>&1
await "three workers are ready again" has_workers 3
sleep 5
no_stream_waited "$begun" "a pod of three was deleted by force"

if [ -n "${E2E_CONTAINERD:-}" ]; then
  begun="$(now_millis)"
  killed="$(a_pod)"
  restarts() { k get "$killed" -o 'jsonpath={.status.containerStatuses[0].restartCount}'; }
  before="$(restarts)"
  signal SIGKILL "$E2E_NAMESPACE" "$killed"
  is_restarted() { [ "$(restarts)" -gt "$before" ] && has_workers 3; }
  await "the kernel's kill is healed" is_restarted
  sleep 5
  no_stream_waited "$begun" "one of three workers was killed without a word"
fi

# The node is closed, so that with one of a few nodes no worker comes in the place of the first.
closed="$(k get "$(a_pod)" -o 'jsonpath={.spec.nodeName}')"
before="$(pods | sort)"
watch_workers
begun="$(now_millis)"
kubectl drain "$closed" --pod-selector="$(of_consumer)" --ignore-daemonsets --delete-emptydir-data \
  --timeout=150s > "$work/drain" 2>&1 &
draining=$!
running+=("$draining")
if [ "$(kubectl get nodes -o name | wc -l)" = 1 ]; then
  is_held_up() { grep -q "would violate the pod's disruption budget" "$work/drain"; }
  await "the budget holds the drain up" is_held_up
  sleep 6
  [ "$(fewest_ready 3)" -ge 2 ] \
    || fail "a drain takes one worker at a time: $(cat "$work/drain" <(changes_of_workers))"
fi
kubectl uncordon "$closed" > /dev/null
closed=''
wait "$draining" || fail "the drain comes to its end: $(cat "$work/drain")"
others_run() { has_workers 3 && [ -z "$(comm -12 <(echo "$before") <(pods | sort))" ]; }
[ "$(kubectl get nodes -o name | wc -l)" != 1 ] || await "other workers run" others_run
await "three workers are ready after the drain" has_workers 3
no_stream_waited "$begun" "a drain took one worker after the other"

if [ -n "${E2E_OTHER_IMAGE:-}" ]; then
  before="$(pods | sort)"
  watch_workers
  begun="$(now_millis)"
  change_fleet "{\"spec\": {\"image\": \"$E2E_OTHER_IMAGE\"}}"
  all_new() { has_workers 3 && [ -z "$(comm -12 <(echo "$before") <(pods | sort))" ]; }
  await "another image rolls the workers" all_new
  [ "$(fewest_ready 3)" -ge 3 ] \
    || fail "there is one more before there is one less: $(changes_of_workers)"
  # What a job has begun before is done with the image of then.
  images="$(k get deployments,cronjobs,pods -l "app.kubernetes.io/instance=$name" -o json \
    | jq -r '.items[] | select(.metadata.ownerReferences[0].kind != "Job") | .spec.jobTemplate.spec // .spec
        | .template.spec // . | .containers[].image' | sort -u)"
  [ "$images" = "$E2E_OTHER_IMAGE" ] || fail "all have it: $images"
  holds "another image rolled all workers, and never were fewer than three ready"
  sleep 5
  no_stream_waited "$begun" "another image rolled all workers"
fi

scales_to 1 "one worker is left again" "three workers became one"

stop_cameras
each_is_shown_once
holds "$(wc -l < "$work/shown") events, each shown once, each camera's in their order"
there_is_no_seam
holds "${#cameras[@]} streams without a seam"
