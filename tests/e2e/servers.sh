# A bucket and a Redis at an address that pods reach, on the node that is this machine. Needs
# fleet.sh, which ends them.
# shellcheck shell=bash disable=SC2154

# Prints a port of this address that nobody has.
free_port() {
  local port
  for _ in $(seq 100); do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<> "/dev/tcp/$E2E_ADDRESS/$port") 2> /dev/null; then echo "$port"; return; fi
  done
  fail "there is a free port"
}

s3_key=tester s3_secret=not-a-secret
# Starts a server that speaks S3, in the region $1 with the bucket $2, whose objects are below $3;
# its address is $s3 then.
start_s3() {
  local port
  s3_region="$1" s3_bucket="$2" s3_prefix="$3"
  port="$(free_port)"
  s3="http://$E2E_ADDRESS:$port"
  mkdir "$work/s3" "$work/s3-accounts"
  ROOT_ACCESS_KEY="$s3_key" ROOT_SECRET_KEY="$s3_secret" "$E2E_S3_SERVER" \
    --port "$E2E_ADDRESS:$port" --region "$1" --health /healthz --iam-dir "$work/s3-accounts" \
    posix "$work/s3" > "$work/s3.log" 2>&1 &
  running+=($!)
  await "the object server answers" curl -fsS "$s3/healthz"
  sign_s3 PUT "$s3_bucket"
}
# Asks for an object of the bucket: $1 the method, $2 its name, and more for curl.
ask_s3() {
  local method="$1" object="$2"; shift 2
  sign_s3 "$method" "$s3_bucket/$s3_prefix/$object" "$@"
}
sign_s3() {
  local method="$1" path="$2"; shift 2
  curl -fsS --max-time 10 -X "$method" --user "$s3_key:$s3_secret" \
    --aws-sigv4 "aws:amz:$s3_region:s3" -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" "$@" "$s3/$path"
}

redis_password=not-a-secret
# Starts a Redis that wants a password; its URL is $redis then.
start_redis() {
  redis_port="$(free_port)"
  redis="redis://:$redis_password@$E2E_ADDRESS:$redis_port/0"
  # Debian has the server in redis-tools too, as a part that goes by its name.
  (
    cd "$work" || exit
    exec -a redis-server "$(command -v redis-server || command -v redis-check-rdb)" \
      --bind "$E2E_ADDRESS" --port "$redis_port" --requirepass "$redis_password" --save '' --appendonly no
  ) > "$work/redis.log" 2>&1 &
  running+=($!)
  redis_answers() { [ "$(ask_redis PING)" = PONG ]; }
  await "Redis answers" redis_answers
}
ask_redis() {
  REDISCLI_AUTH="$redis_password" redis-cli -h "$E2E_ADDRESS" -p "$redis_port" "$@"
}
