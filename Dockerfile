# The service as a container.
#
#   docker build -t firmament .
#   docker run -p 8080:8080 -p 8081:8081 -v firmament:/data --read-only firmament
#
# Settings come from the environment (FIRMAMENT__SECTION__KEY) or from a file:
# `docker run … firmament serve --config /etc/firmament.toml`.

ARG RUST=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST}-slim-${DEBIAN} AS build
# The image brings gcc and libc6-dev, and C is all that the two C libraries in
# the tree ask for: aws-lc (built by the `cc` crate on Linux, without cmake) and SQLite.
WORKDIR /build

# The dependencies, in a layer that lasts until Cargo.lock changes. A build of
# empty sources rather than cache mounts: layers are what every builder keeps
# and what a registry can hand to the next machine; cache mounts stay on one.
# A [[bench]] or [[test]] of Cargo.toml needs its `path` written out: cargo looks
# for files of unwritten paths even when it does not build them.
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --locked --release --bin firmament \
    && rm -r src

# migrations, .sqlx and config are compiled in.
COPY migrations migrations
COPY .sqlx .sqlx
COPY config config
COPY src src
# Cargo goes by modification times, and a checkout may be older than the layer above.
RUN touch src/lib.rs src/main.rs \
    && cargo build --locked --release --bin firmament

FROM debian:${DEBIAN}-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 firmament \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin firmament \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /build/target/release/firmament /usr/local/bin/firmament

# Nothing but the volume is written, temporary files included.
ENV FIRMAMENT__DATA_DIR=/data \
    FIRMAMENT__PUBLISHER__LISTEN=0.0.0.0:8081 \
    FIRMAMENT__DEVICE__LISTEN=0.0.0.0:8080 \
    TMPDIR=/data
WORKDIR /data
VOLUME /data
# 8080: devices, public. 8081: publishers and metrics, private.
EXPOSE 8080 8081
# By number, so that Kubernetes can tell that this is not root.
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["firmament", "health"]
ENTRYPOINT ["firmament"]
CMD ["serve"]
