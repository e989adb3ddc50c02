#!/usr/bin/env bash
# Builds container images without a container engine and without a registry.
#
#   images.sh pause                              what holds a pod's namespaces
#   images.sh build NAME DOCKERFILE CONTEXT [ARGUMENT...]
#                                                an image on docker.io/library/debian:bookworm-slim,
#                                                with more arguments for `buildah build`
#   images.sh compile NAME CONTEXT               the image of the Dockerfile in the context, which is
#                                                compiled in there
#
# Prints the archive of the image, below target/test-cluster/images. The base is made of
# Debian's packages and slimmed as Debian's own image of that name is; it lies in a storage of
# its own there, apart from your images. What the Dockerfile compiles in is that base with this
# machine's Rust toolchain, in the place of docker.io/library/rust; crates that this machine has
# fetched are not fetched again. Needs root, debootstrap, buildah and busybox-static.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
home="${CARGO_TARGET_DIR:-$here/../../../target}/test-cluster/images"
verb="${1:-}"
[ -n "$verb" ] || { sed -n '2,15p' "$0" >&2; exit 2; }
mkdir -p "$home" && home="$(cd "$home" && pwd)"
exec 9> "$home/lock"
flock 9

release=bookworm base="docker.io/library/debian:bookworm-slim" pause="local/pause:1"
# Layers upon one another where the file system can do that, else copies, which is slower.
for driver in overlay vfs; do
  buildah=(buildah --storage-driver "$driver" --root "$home/storage" --runroot "$home/runroot")
  if "${buildah[@]}" images > /dev/null 2>&1; then break; fi
done
has_image() { "${buildah[@]}" inspect --type image "$1" > /dev/null 2>&1; }
build() { "${buildah[@]}" build --isolation chroot --pull-never --quiet "$@" > /dev/null 9>&-; }
# An archive is written under another name first: half of one is never taken for whole.
archive() {
  rm -f "$2.part"
  "${buildah[@]}" push --quiet "$1" "docker-archive:$2.part:$1" >&2
  mv "$2.part" "$2"
}

# What Debian's slim image leaves out, of packages installed later as well.
make_base() {
  local work="$home/base"
  rm -rf "$work" && mkdir -p "$work/context"
  echo "making $base of Debian's packages, once" >&2
  debootstrap --variant=minbase "$release" "$work/root" > "$work/log" 2>&1 9>&- \
    || { tail -n 20 "$work/log" >&2; echo "debootstrap failed" >&2; exit 1; }
  cat > "$work/root/etc/dpkg/dpkg.cfg.d/slim" << 'END'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
END
  find "$work/root/usr/share/doc" -type f ! -name copyright -delete
  rm -rf "$work"/root/usr/share/{info,locale,man}/* "$work"/root/var/cache/apt/*.bin \
    "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/* \
    "$work"/root/var/log/*.log
  tar -C "$work/root" -cf "$work/context/base.tar" .
  printf 'FROM scratch\nADD base.tar /\nCMD ["bash"]\n' > "$work/context/Dockerfile"
  build --tag "$base" "$work/context"
  rm -rf "$work"
}

# As Debian's image of Rust: a C compiler, the toolchain on the PATH, and Cargo's home.
make_builder() {
  local toolchain work="$home/builder"
  toolchain="$(readlink -f "$(rustc --print sysroot)")"
  rm -rf "$work" && mkdir -p "$work"
  echo "making $1 of this machine's toolchain, once" >&2
  cat > "$work/Dockerfile" << END
FROM $base
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev \\
    && rm -rf /var/lib/apt/lists/*
COPY bin /usr/local/rust/bin
COPY lib /usr/local/rust/lib
ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV CARGO_HOME=/usr/local/cargo
END
  build --tag "$1" --file "$work/Dockerfile" "$toolchain"
  rm -rf "$work"
}

case "$verb" in
  pause)
    if [ ! -e "$home/pause.tar" ]; then
      work="$home/pause"
      mkdir -p "$work" && cp /bin/busybox "$work/"
      printf 'FROM scratch\nCOPY busybox /bin/sleep\nUSER 65535:65535\nENTRYPOINT ["/bin/sleep","infinity"]\n' \
        > "$work/Dockerfile"
      build --tag "$pause" "$work"
      archive "$pause" "$home/pause.tar"
      rm -rf "$work"
    fi
    echo "$home/pause.tar" ;;
  build)
    name="$2" dockerfile="$3" context="$4"; shift 4
    has_image "$base" || make_base
    build --layers --tag "$name" --file "$dockerfile" "$@" "$context"
    file="$home/$(tr '/:' '__' <<< "$name").tar"
    archive "$name" "$file"
    echo "$file" ;;
  compile)
    name="$2" context="$3" cargo_home="${CARGO_HOME:-$HOME/.cargo}"
    builder="docker.io/library/rust:$(sed -n 's/^ARG RUST=//p' "$context/Dockerfile")-slim-bookworm"
    has_image "$base" || make_base
    has_image "$builder" || make_builder "$builder"
    mkdir -p "$cargo_home/registry"
    volumes=(--volume "$cargo_home/registry:/usr/local/cargo/registry:rw")
    # Where this machine gets its crates from, if that is not where everybody does.
    if [ -e "$cargo_home/config.toml" ]; then
      volumes+=(--volume "$cargo_home/config.toml:/usr/local/cargo/config.toml:ro")
    fi
    build --tag "$name" "${volumes[@]}" --file "$context/Dockerfile" "$context"
    file="$home/$(tr '/:' '__' <<< "$name").tar"
    archive "$name" "$file"
    echo "$file" ;;
  *) sed -n '2,15p' "$0" >&2; exit 2 ;;
esac
