#!/usr/bin/env bash
# Finds out what is missing to build (`setup.sh build`), to test (`setup.sh test`, the default) or
# to test in a Kubernetes of one node (`setup.sh e2e`) and installs it: Debian packages by apt-get,
# with sudo where not root; the Rust toolchain by rustup. Says what it does; does nothing when
# nothing is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

level=${1:-test}
case $level in
    build | test | e2e) ;;
    *)
        echo "usage: scripts/setup.sh [build|test|e2e]" >&2
        exit 2
        ;;
esac

say() { echo "setup: $*"; }
fail() {
    echo "setup: $*" >&2
    exit 1
}
on_path() { command -v "$1" >/dev/null 2>&1; }
has_postgres() { on_path postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }

# Rust links with cc; bindgen reads FFmpeg's headers with libclang; the Pulsar client compiles
# its protocol with protoc.
packages=(
    gcc libc6-dev pkg-config libclang-dev protobuf-compiler
    libavcodec-dev libavformat-dev libavutil-dev libswscale-dev
)
# g++ builds the second H.264 decoder that judges pictures.
if [[ $level == test ]]; then
    packages+=(g++)
    # It counts system calls for `make bench`.
    on_path strace || packages+=(strace)
    # Redis without its service: the server is in there too, by the name of one of its parts.
    on_path redis-server || packages+=(redis-tools)
    has_postgres || packages+=(postgresql)
fi
# A node: what runs containers, what connects them, and what builds their images.
if [[ $level == e2e ]]; then
    [[ $(uname -s) == Linux ]] ||
        fail "a node needs Linux. Set E2E_KUBECONFIG and E2E_IMAGE to test in a cluster of yours"
    [[ $(id -u) == 0 ]] ||
        fail "a node needs root, as it makes namespaces, a bridge and containers: run this by sudo." \
            "Set E2E_KUBECONFIG and E2E_IMAGE to test in a cluster of yours without"
    packages+=(
        containerd runc containernetworking-plugins iptables iproute2 conntrack
        buildah debootstrap busybox-static jq
    )
    on_path redis-cli || packages+=(redis-tools)
fi
# Both: ffprobe judges segments, openssl makes keys, curl asks the broker, Maven and Java make it,
# and a browser plays.
if [[ $level != build ]]; then
    packages+=(ffmpeg openssl curl)
    # These count from wherever they come, so that an own Node, Java or browser is kept.
    on_path chromium || packages+=(chromium)
    on_path node || packages+=(nodejs)
    on_path npm || packages+=(npm)
    on_path mvn || packages+=(maven)
    if ! on_path java; then
        # Pulsar wants Java 17 or later; which of these exists depends on the Debian release.
        if on_path apt-cache && [[ -n $(apt-cache search --names-only '^openjdk-17-jdk-headless$') ]]; then
            packages+=(openjdk-17-jdk-headless)
        else
            packages+=(default-jdk-headless)
        fi
    fi
fi

on_debian() { on_path apt-get && on_path dpkg-query; }

# Prints those of the arguments that are not installed.
missing_packages() {
    local installed
    # dpkg-query fails when one is unknown, and still tells about the others.
    # shellcheck disable=SC2016 # these are dpkg-query's own variables
    installed=$(dpkg-query -W -f='${db:Status-Abbrev}${binary:Package}\n' "$@" 2>/dev/null |
        sed -n 's/^ii *//p' | sed 's/:.*//' || true)
    local package
    for package in "$@"; do
        grep -qxF -- "$package" <<<"$installed" || echo "$package"
    done
}

install_packages() {
    local as_root=()
    if [[ $(id -u) != 0 ]]; then
        on_path sudo || fail "these packages are missing, and there is no sudo to install them:" \
            "$*. As root: apt-get install --no-install-recommends $*"
        # Without a terminal nobody can type a password.
        if [[ -t 0 ]]; then as_root=(sudo); else as_root=(sudo -n); fi
    fi
    say "installing by apt-get${as_root[*]:+ with sudo}: $*"
    "${as_root[@]}" apt-get update -qq ||
        fail "apt-get update failed, so nothing was installed; see above. As root it is:" \
            "apt-get update && apt-get install --no-install-recommends $*"
    # The tests make databases of their own: no need of the one that PostgreSQL's package makes
    # and starts. It is told so, and what tells it is removed again.
    local no_database=/etc/postgresql-common/createcluster.d/stream-processor.conf installed=yes
    if [[ " $* " == *" postgresql "* ]]; then
        "${as_root[@]}" mkdir -p "${no_database%/*}"
        echo 'create_main_cluster = false' | "${as_root[@]}" tee "$no_database" >/dev/null
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "$@" >/dev/null || installed=no
    "${as_root[@]}" rm -f "$no_database"
    [[ $installed == yes ]] || fail "apt-get could not install: $*"
}

if on_debian; then
    mapfile -t missing < <(missing_packages "${packages[@]}")
    if ((${#missing[@]})); then install_packages "${missing[@]}"; fi
else
    # Another system calls its packages otherwise: name what the build looks for.
    wanted=(cc pkg-config protoc)
    if [[ $level == test ]]; then
        wanted+=(c++ redis-server)
    elif [[ $level == e2e ]]; then
        wanted+=(containerd ctr runc iptables ip conntrack buildah debootstrap busybox
            jq redis-cli)
    fi
    [[ $level == build ]] || wanted+=(ffmpeg ffprobe openssl curl mvn java chromium node npm)
    absent=()
    for tool in "${wanted[@]}"; do on_path "$tool" || absent+=("$tool"); done
    [[ $level != test ]] || has_postgres || absent+=(postgres)
    for library in libavcodec libavformat libavutil libswscale; do
        { on_path pkg-config && pkg-config --exists "$library"; } || absent+=("$library (headers)")
    done
    if ((${#absent[@]})); then
        printf -v list '%s, ' "${absent[@]}"
        fail "this is not a Debian system, so nothing was installed. Missing: ${list%, }." \
            "On Debian these packages bring them: ${packages[*]}"
    fi
fi

if ! on_path cargo; then
    if [[ -x $HOME/.cargo/bin/cargo ]]; then
        fail "cargo is in $HOME/.cargo/bin but not on the PATH: run '. \"$HOME/.cargo/env\"' first"
    fi
    fail "cargo is missing. Install Rust from https://rustup.rs, then run this again"
fi
# rustup's cargo does not run before the toolchain that rust-toolchain.toml pins is there.
if ! cargo --version >/dev/null 2>&1; then
    on_path rustup || fail "cargo does not run: try 'cargo --version'"
    pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    say "installing Rust $pinned by rustup"
    rustup toolchain install "$pinned" --profile minimal --component rustfmt --component clippy ||
        fail "rustup could not install Rust $pinned"
fi
if ! on_path rustup; then
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d' ' -f2)
    if [[ $(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -n 1) != "$needed" ]]; then
        fail "Rust $found is too old: $needed or later is needed. https://rustup.rs brings it"
    fi
fi
# The stand-ins for S3 and GCS, Kubernetes and Helm are written in Go. No Debian package is asked
# for: Debian 12's is too old, and even too old to fetch a newer one by itself, which Go does from
# 1.21 on.
if [[ $level != build ]]; then
    modules=(tests/support/cluster/go tests/support/servers/go tests/support/servers/helm)
    needed=$(sed -n 's/^go \(.*\)/\1/p' "${modules[@]/%//go.mod}" | sort -V | tail -n 1)
    how="Install Go $needed or later from https://go.dev/dl, then run this again"
    if ! on_path go; then
        if [[ -x /usr/local/go/bin/go ]]; then
            fail "go is in /usr/local/go/bin but not on the PATH: add that folder to it first"
        fi
        fail "go is missing. $how"
    fi
    for module in "${modules[@]}"; do
        found=$(cd "$module" && go env GOVERSION) || fail "go does not run. $how"
        needed=$(sed -n 's/^go \(.*\)/\1/p' "$module/go.mod")
        if [[ $(printf '%s\n%s\n' "go$needed" "$found" | sort -V | head -n 1) != "go$needed" ]]; then
            fail "Go ${found#go} is too old. $how"
        fi
    done
fi
say "nothing is missing for $level"
