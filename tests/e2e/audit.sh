# What the API server's audit log tells of operators and workers. Needs fleet.sh.
# shellcheck shell=bash disable=SC2154

# What was asked before the scenario began is another's: operators that are being removed may ask
# for what they may not any more.
audit_begins=0
[ -z "${E2E_AUDIT_LOG:-}" ] || audit_begins="$(wc -c < "$E2E_AUDIT_LOG")"
audit_log() { tail -c "+$((audit_begins + 1))" "$E2E_AUDIT_LOG"; }

operator_user="system:serviceaccount:$system:stream-processor-operator"

# The requests of a user in the order of their arrival, a line each as
# `TIME POD VERB RESOURCE NAMESPACE/NAME CODE`: $1 the user.
requests_of() {
  jq -Rr --arg user "$1" 'fromjson? | select(.user.username == $user and .stage != "ResponseStarted")
    | [.requestReceivedTimestamp, (.user.extra["authentication.kubernetes.io/pod-name"][0] // "-"),
       .verb, .objectRef.resource // .requestURI,
       "\(.objectRef.namespace // "")/\(.objectRef.name // "")", .responseStatus.code // 0]
    | map(tostring) | join(" ")' <(audit_log) | sort
}
# What operators write of their own accord: no Lease, which each of them reaches for, and no event.
operator_writes() {
  requests_of "$operator_user" \
    | awk '$3 !~ /^(get|list|watch)$/ && $4 != "leases" && $4 != "events"'
}
# Operators and workers were denied nothing.
nothing_was_denied() {
  local denied calls
  denied="$(jq -Rr --arg users "$operator_user $1" 'fromjson? | .user.username as $user
    | select($users | split(" ") | index($user)) | select(.responseStatus.code == 403
      or .annotations["authorization.k8s.io/decision"] == "forbid")
    | "\($user) \(.verb) \(.requestURI)"' <(audit_log))"
  [ -z "$denied" ] || fail "operators and workers are denied nothing: $(sort <<< "$denied" | uniq -c)"
  calls="$(for user in "$operator_user" $1; do requests_of "$user"; done | wc -l)"
  [ "$calls" -gt 0 ] || fail "there are calls of theirs in the audit log"
  holds "none of $calls calls of operators and workers was denied"
}
