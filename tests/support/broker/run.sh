#!/usr/bin/env bash
# A real Pulsar broker with its bookie, for tests, on loopback; at BROKER_HOST if that is set, an
# address of this machine's.
#
#   run.sh start [NAME] [OWNER_PID]   starts it unless it runs; prints its address file
#   run.sh crash [NAME]               kills it at once, as a power cut would
#   run.sh resume [NAME] [OWNER_PID]  starts it again on the same ports and data
#   run.sh freeze [NAME]              stops it in its tracks: connections stand, nothing answers
#   run.sh thaw  [NAME]               lets it go on
#   run.sh stop  [NAME]               ends it and removes its data
#
# With an OWNER_PID it ends by itself when that process is gone. The address file holds
# HOST, BROKER_PORT, TLS_PORT, ADMIN_PORT and PID; beside it lie ca.pem, which the TLS port is
# trusted by, and token, which the broker takes (it takes none at all as well). Everything is
# kept under target/test-broker, so that only the first run downloads (about 250 MB). Needs
# Java 17, Maven and OpenSSL.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
home="${CARGO_TARGET_DIR:-$here/../../../target}/test-broker"
mkdir -p "$home" && home="$(cd "$home" && pwd)"
verb="${1:-}"; name="${2:-shared}"; owner="${3:-}"
run="$home/run-$name"
HOST="${BROKER_HOST:-127.0.0.1}"

port_is_free() { ! (exec 3<>"/dev/tcp/$HOST/$1") 2>/dev/null; }

pick_port() {
  local port
  for _ in $(seq 100); do
    port=$((20000 + RANDOM % 12000))
    if port_is_free "$port"; then echo "$port"; return; fi
  done
  echo "no free port between 20000 and 32000" >&2; exit 1
}

resolve_jars() {
  local stamp; stamp="$(cksum < "$here/pom.xml")"
  [ "$(cat "$home/lib.stamp" 2>/dev/null)" = "$stamp" ] && return
  rm -rf "$home/lib"
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies \
    -DoutputDirectory="$home/lib" -DincludeScope=runtime >&2
  echo "$stamp" > "$home/lib.stamp"
}

# Ours, and still alive: a pid alone may have been given to somebody else since.
is_running() {
  [ -f "$run/address" ] || return 1
  local PID=0; . "$run/address"
  tr '\0' ' ' 2>/dev/null < "/proc/$PID/cmdline" | grep -q -- "$run/standalone.conf"
}

kill_it() {
  is_running || return 0
  local PID=0; . "$run/address"
  kill "-$1" "$PID" 2>/dev/null || true
  for _ in $(seq 100); do [ -d "/proc/$PID" ] || return 0; sleep 0.1; done
  kill -KILL "$PID" 2>/dev/null || true
}

# An authority, its certificate for the address, and a token (JWT, HS256) for the role "tester".
make_secrets() {
  local new=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30)
  "${new[@]}" -subj "/CN=test authority" -keyout "$run/ca.key" -out "$run/ca.pem" 2> /dev/null
  "${new[@]}" -subj /CN=localhost -CA "$run/ca.pem" -CAkey "$run/ca.key" \
    -addext "subjectAltName=IP:$HOST" -addext basicConstraints=CA:FALSE \
    -keyout "$run/key.pem" -out "$run/cert.pem" 2> /dev/null
  openssl rand 32 > "$run/secret"
  local head body sign
  head="$(printf '{"alg":"HS256"}' | base64url)"
  body="$(printf '{"sub":"tester"}' | base64url)"
  sign="$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -binary \
    -mac HMAC -macopt "hexkey:$(od -An -v -tx1 "$run/secret" | tr -d ' \n')" | base64url)"
  printf '%s.%s.%s\n' "$head" "$body" "$sign" > "$run/token"
}

base64url() { base64 -w0 | tr '+/' '-_' | tr -d '='; }

launch() {
  local opens="" package
  for package in java.base/java.io java.base/java.util.zip java.base/java.nio \
    java.base/jdk.internal.misc java.base/jdk.internal.platform java.base/sun.net \
    java.management/sun.management jdk.management/com.sun.management.internal; do
    opens="$opens --add-opens $package=ALL-UNNAMED"
  done
  sed -e "s/@BROKER_PORT@/$BROKER_PORT/" -e "s/@ADMIN_PORT@/$ADMIN_PORT/" \
    -e "s/@TLS_PORT@/$TLS_PORT/" -e "s/@HOST@/$HOST/" -e "s|@RUN@|$run|" \
    "$here/standalone.conf" > "$run/standalone.conf"
  # shellcheck disable=SC2086 # the options are words
  (cd "$run" && exec setsid java -Xms128m -Xmx512m -XX:MaxDirectMemorySize=512m \
    -XX:TieredStopAtLevel=1 -XX:+UseSerialGC $opens \
    -Dio.netty.tryReflectionSetAccessible=true \
    -Dlog4j2.configurationFile="$here/log4j2.xml" \
    -Dbookkeeper.metadata.bookie.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataBookieDriver \
    -Dbookkeeper.metadata.client.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataClientDriver \
    -cp "$home/lib/*" org.apache.pulsar.PulsarStandaloneStarter \
    --config "$run/standalone.conf" -nfw -nss -a "$HOST" \
    --metadata-dir "$run/data/meta" --bookkeeper-dir "$run/data/bk" \
    --bookkeeper-port "$BOOKIE_PORT" >> "$run/broker.log" 2>&1 < /dev/null 9>&-) &
  local pid=$!
  printf 'HOST=%s\nBROKER_PORT=%s\nTLS_PORT=%s\nADMIN_PORT=%s\nBOOKIE_PORT=%s\nPID=%s\n' \
    "$HOST" "$BROKER_PORT" "$TLS_PORT" "$ADMIN_PORT" "$BOOKIE_PORT" "$pid" > "$run/address"
  for _ in $(seq 1200); do
    if curl -fsS -o /dev/null --max-time 2 \
      "http://$HOST:$ADMIN_PORT/admin/v2/namespaces/public" 2>/dev/null \
      && curl -fsS --max-time 2 \
      "http://$HOST:$ADMIN_PORT/admin/v2/namespaces/public" | grep -q public/default; then
      break
    fi
    if [ ! -d "/proc/$pid" ]; then
      tail -n 30 "$run/broker.log" >&2; echo "the broker ended while it started" >&2; exit 1
    fi
    sleep 0.1
  done
  if [ -n "$owner" ]; then
    setsid "$0" follow "$name" "$owner" > /dev/null 2>&1 < /dev/null 9>&- &
  fi
}

exec 9> "$home/lock-$name"
case "$verb" in
  start)
    flock 9
    if ! is_running; then
      (flock 8; resolve_jars) 8> "$home/lock-jars"
      rm -rf "$run"; mkdir -p "$run"
      BROKER_PORT="$(pick_port)"; TLS_PORT="$(pick_port)"
      ADMIN_PORT="$(pick_port)"; BOOKIE_PORT="$(pick_port)"
      make_secrets
      launch
    fi
    echo "$run/address" ;;
  crash) flock 9; kill_it KILL ;;
  freeze) if is_running; then (. "$run/address"; kill -STOP "$PID"); fi ;;
  thaw) if is_running; then (. "$run/address"; kill -CONT "$PID"); fi ;;
  resume)
    flock 9
    if ! is_running; then . "$run/address"; launch; fi
    echo "$run/address" ;;
  stop) flock 9; kill_it TERM; rm -rf "$run" ;;
  follow)
    exec 9>&-
    while [ -d "/proc/$owner" ]; do sleep 0.5; done
    exec "$0" stop "$name" ;;
  *) sed -n '2,17p' "$0" >&2; exit 2 ;;
esac
