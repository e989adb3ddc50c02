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
# Starts a server that speaks S3, in the region $1 with the bucket $2; its address is $s3 then.
start_s3() {
  local port
  s3_region="$1" s3_bucket="$2"
  port="$(free_port)"
  s3="http://$E2E_ADDRESS:$port"
  mkdir "$work/s3" "$work/s3-accounts"
  ROOT_ACCESS_KEY="$s3_key" ROOT_SECRET_KEY="$s3_secret" "$E2E_S3_SERVER" \
    --port "$E2E_ADDRESS:$port" --region "$1" --health /healthz --iam-dir "$work/s3-accounts" \
    posix "$work/s3" > "$work/s3.log" 2>&1 &
  running+=($!)
  await "the object server answers" curl -fsS "$s3/healthz"
  ask_s3 PUT ""
}
# Asks for an object of the bucket: $1 the method, $2 its name, and more for curl.
ask_s3() {
  local method="$1" object="$2"; shift 2
  curl -fsS --max-time 10 -X "$method" --user "$s3_key:$s3_secret" \
    --aws-sigv4 "aws:amz:$s3_region:s3" "$@" "$s3/$s3_bucket/$object"
}

# Starts a Redis that wants a password; its URL is $redis then.
start_redis() {
  local port password=not-a-secret
  port="$(free_port)"
  redis="redis://:$password@$E2E_ADDRESS:$port/0"
  # Debian has the server in redis-tools too, as a part that goes by its name.
  (
    cd "$work" || exit
    exec -a redis-server "$(command -v redis-server || command -v redis-check-rdb)" \
      --bind "$E2E_ADDRESS" --port "$port" --requirepass "$password" --save '' --appendonly no
  ) > "$work/redis.log" 2>&1 &
  running+=($!)
  await "Redis answers" ask_redis PING
}
ask_redis() { redis-cli -u "$redis" --no-auth-warning "$@"; }
