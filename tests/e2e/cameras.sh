# Cameras that send for as long as a scenario wants, and what their streams show. Needs fleet.sh.
# shellcheck shell=bash disable=SC2154

streams=/storage/streams
cameras=(1 2 3 4 5 6)
# camera-7 sends what is no picture.
broken=7

# A pod that has the claim, for what cameras write and viewers read: wherever the claim lies.
create_camera_pod() {
  create_pod camera '[infinity]' streams 'command: [sleep]'
  k wait --for=condition=Ready pod/camera --timeout=60s > /dev/null || fail "the claim is mounted"
}
in_camera() { k exec camera -- sh -c "cd $streams && $1" < /dev/null; }

frame_path() { echo "client_ids/e2e/device_id/camera-$1/frames/view.jpg"; }
# Every camera has one picture, which all its events name.
write_frames() {
  local number file
  for number in "${cameras[@]}" "$broken"; do
    file="$work/frames/$(frame_path "$number")"
    mkdir -p "$(dirname "$file")"
    if [ "$number" = "$broken" ]; then echo "no picture" > "$file"; continue; fi
    ffmpeg -nostdin -loglevel error -f lavfi -i "testsrc2=size=640x360:rate=1" \
      -vf "hue=h=$((number * 40))" -frames:v 1 -q:v 4 "$file"
  done
  chmod -R a+rwX "$work/frames"
}
put_frames_into_the_claim() {
  tar -C "$work/frames" -c client_ids \
    | k exec -i camera -- sh -c "umask 0; tar -x --no-same-owner -C $streams"
}

now_millis() { date +%s%3N; }
# Publishes one event of each camera given, taken at $1; their ids go to $work/sent once the
# broker has them. Said twice is said once, so it may be tried again.
publish() {
  local tick="$1" camera id messages=() ids=()
  shift
  for camera in "$@"; do
    id="camera-$camera-$tick"
    ids+=("$id")
    messages+=("$(frame_message "$id" e2e "camera-$camera" "$tick" "$(frame_path "$camera")")")
  done
  until send_messages "$topic" "e2e-$tick" "${messages[@]}"; do
    [ -d "$work" ] || return
    sleep 1
  done
  printf '%s\n' "${ids[@]}" >> "$work/sent"
}

# All cameras send a frame a second each until stop_cameras. Their clocks do not wait for a
# broker that is slow, so that a gap in a stream is never theirs.
start_cameras() {
  touch "$work/goes-on"
  (
    trap - EXIT
    due="$(now_millis)"
    while [ -e "$work/goes-on" ]; do
      publish "$due" "${cameras[@]}"
      due=$((due + 1000))
      early=$((due - $(now_millis)))
      [ "$early" -le 0 ] || sleep "$((early / 1000)).$(printf %03d $((early % 1000)))"
    done
  ) &
  load=$!
  running+=("$load")
}
stop_cameras() {
  rm "$work/goes-on"
  wait "$load" || true
}

# The events that the streams show, one a line, as often as they are shown, in the order of their
# segments.
shown() {
  in_camera "cat client_ids/e2e/device_id/*/hls/state.json; cat client_ids/e2e/device_id/*/hls/history/* || true" \
    2> /dev/null | jq -sr 'map(if type == "array" then .[] else .recent[] end) | sort_by(.number)
      | .[].frames[].id'
}
nothing_waits() { [ "$(subscription "$topic" stream-processor msgBacklog)" = 0 ]; }
all_are_shown() { [ "$(shown | sort -u | wc -l)" -ge "$(wc -l < "$work/sent")" ]; }
# What was sent is shown, all of it once, and each camera's in the order of their taking.
each_is_shown_once() {
  await "nothing waits at the broker" nothing_waits
  await "all events are shown" all_are_shown
  shown > "$work/in-order"
  sort "$work/in-order" > "$work/shown"
  [ -z "$(uniq -d "$work/shown")" ] || fail "no event is shown twice: $(uniq -d "$work/shown" | sed -n 1,10p)"
  [ -z "$(comm -3 "$work/shown" <(sort -u "$work/sent"))" ] \
    || fail "what was sent is shown: $(comm -3 "$work/shown" <(sort -u "$work/sent") | sed -n 1,10p)"
  local late
  late="$(awk -F - '$3 <= newest[$2] { print } { newest[$2] = $3 }' "$work/in-order")"
  [ -z "$late" ] || fail "each camera's events are shown in the order of their taking: $late"
}

playlist_path() { echo "client_ids/e2e/device_id/camera-$1/hls/playlist.m3u8"; }
# The streams have no seam: no EXT-X-DISCONTINUITY, and where a date is written, it is when what
# is before it ends. Listed in order, and counted up by one.
there_is_no_seam() {
  local camera verdict
  for camera in "${cameras[@]}"; do
    in_camera "cat $(playlist_path "$camera")" > "$work/playlist.m3u8"
    verdict="$(jq -Rnr -f "$repository/tests/e2e/playlist.jq" "$work/playlist.m3u8")" \
      || fail "the playlist of camera-$camera can be read"
    [ -z "$verdict" ] || fail "the stream of camera-$camera has no seam: $verdict"
  done
}

# Notes every second how long ago each playlist was published last, until the scenario ends.
watch_playlists() {
  local look
  # shellcheck disable=SC2016 # it is the pod that expands it
  look='for camera in client_ids/e2e/device_id/camera-[1-6]; do
    now=$(date +%s%3N); echo "$now $((now - $(date +%s%3N -r $camera/hls/playlist.m3u8))) $camera"
  done'
  kubectl exec camera -- sh -c "cd $streams; while sleep 1; do $look; done" \
    > "$work/ages" 2> "$work/ages.log" < /dev/null &
  running+=($!)
}
# The oldest that any playlist has been since $1, in milliseconds; looked at until now.
oldest_playlist_millis() {
  awk -v since="$1" '$1 >= since { if ($2 > most) most = $2; looks++ }
    END { if (looks < 6) exit 1; print most }' "$work/ages"
}
