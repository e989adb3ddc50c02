# The commands that README.md and docs/operator.md have, run as they stand there.
# Needs fleet.sh, which makes the folder that they are run in.
# shellcheck shell=bash disable=SC2154

touch "$work/run"

# All kubectl commands that the documents have, without what is said of them.
in_documents() {
  sed -n 's/^\(kubectl .*\)$/\1/p' "$repository/README.md" "$repository/docs/operator.md" \
    | sed 's/ *#.*//; s/ *\\$//' | sort -u
}
# Notes that a command is run, which the documents must have.
note_documented() {
  grep -qxF -- "$1" <<< "$(in_documents)" || fail "README.md or docs/operator.md has the command: $1"
  echo "$1" >> "$work/run"
}
# Runs a command just as README.md or docs/operator.md has it.
documented() {
  note_documented "$1"
  (cd "$work" && eval "$1")
}
# The same, for as long as the scenario runs; $2 is where what it says goes.
documented_meanwhile() {
  note_documented "$1"
  (cd "$work" && eval "exec $1") > "$2" 2>&1 < /dev/null &
  running+=($!)
}
# The same, and what it says has $2.
documented_to_say() {
  local said
  said="$(documented "$1")" || fail "it works: $1"
  grep -q -- "$2" <<< "$said" || fail "$1 tells of $2: $said"
}
# Each of them has been run.
all_documented_were_run() {
  local left
  left="$(comm -23 <(in_documents) <(sort -u "$work/run"))"
  [ -z "$left" ] || fail "each documented command has been run: $left"
}
