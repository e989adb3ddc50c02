# The image of stream-processor.
#
#   docker build -t stream-processor .
#       compiles it in the image's own builder; nothing is needed on this machine
#   docker build -t stream-processor --target prebuilt .
#       takes target/release/stream-processor, built on Debian 12 by `make build`
#
# It runs as user 65532 without any privilege, with a read-only root: what it writes goes to
# STORAGE_BASE_PATH, and of `demo` to /tmp. No init is needed: the program takes
# SIGTERM as process 1 and waits for the helpers that it starts. It has /healthz and /readyz for
# whoever runs it, so there is no HEALTHCHECK.

ARG RUST=1.95.0

FROM docker.io/library/debian:bookworm-slim AS base
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libavcodec59 libswscale6 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/* /var/log/*.log \
    && echo 'stream-processor:x:65532:65532::/:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'stream-processor:x:65532:' >> /etc/group \
    && install -d -o 65532 -g 65532 /storage/streams
ARG VERSION=0.1.0
ARG REVISION=unknown
# The program's code is MIT; with Debian's FFmpeg it is a combined work under the GPL.
LABEL org.opencontainers.image.title="stream-processor" \
    org.opencontainers.image.description="Turns the JPEG frames of camera fleets into rolling HLS streams, exactly once" \
    org.opencontainers.image.source="https://github.com/microboxlabs/stream-processor" \
    org.opencontainers.image.documentation="https://github.com/microboxlabs/stream-processor#readme" \
    org.opencontainers.image.licenses="MIT AND GPL-2.0-or-later" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
COPY LICENSE /usr/share/doc/stream-processor/LICENSE
# By number, so that runAsNonRoot can tell that it is not root.
USER 65532:65532
# Metrics and health.
EXPOSE 9090
ENTRYPOINT ["/usr/local/bin/stream-processor"]

FROM base AS prebuilt
COPY target/release/stream-processor /usr/local/bin/stream-processor

FROM docker.io/library/rust:${RUST}-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev pkg-config libclang-dev \
        protobuf-compiler libavcodec-dev libavformat-dev libavutil-dev libswscale-dev
WORKDIR /source
# Dependencies first: they are compiled again only when the list of them has changed.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/figures \
    && touch src/lib.rs benches/figures/main.rs && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked
COPY benches benches
COPY src src
RUN touch src/lib.rs src/main.rs && cargo build --release --locked

FROM base
COPY --from=build /source/target/release/stream-processor /usr/local/bin/stream-processor
