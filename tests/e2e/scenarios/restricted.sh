#!/usr/bin/env bash
# The image runs where the restricted Pod Security Standard is enforced, with a read-only root.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# Otherwise the rest would prove nothing.
refusal="$(k run careless --image="$E2E_IMAGE" 2>&1 || true)"
grep -q 'violates PodSecurity "restricted' <<< "$refusal" || fail "a careless pod is refused: $refusal"
holds "a pod that does not care is refused"

create_pod version '["--version"]'
await_end version
version="$(k logs version)"
grep -q '^stream-processor [0-9]' <<< "$version" || fail "it says its version: $version"
holds "${version%%$'\n'*}"

create_pod demo '["demo", "--cameras", "2", "--duration", "10"]'
await_end demo
summary="$(k logs demo)"
grep -qE '[1-9][0-9]* segments' <<< "$summary" || fail "it makes segments: $summary"
# The log of a demonstration tells of trouble alone.
if grep -qE '"level":"(WARN|ERROR)"' <<< "$summary"; then fail "it has no trouble: $summary"; fi
holds "demo: $(grep -E '[1-9][0-9]* segments' <<< "$summary" | head -n 1)"

# As process 1 it gets no default handlers: one that did not listen would be killed after a
# minute, and kubectl would give up.
create_pod stopped '["demo", "--cameras", "1"]'
await "the demonstration starts" sh -c "kubectl -n $E2E_NAMESPACE logs stopped | grep ."
k delete pod stopped --timeout=30s > /dev/null || fail "it ends when it is asked to"
holds "it ends when it is asked to"
