# An image with nothing in it but the two executables, to be copied into yours:
#
#   docker build -t thrust .
#
#   COPY --from=thrust /usr/local/bin/ /usr/local/bin/
#
# Or your app's image with Thrust as its ENTRYPOINT:
#
#   docker build -t my-app-behind-thrust --build-arg RUNTIME_IMAGE=my-app .

# It is built twice, the second time laid out by what the first was seen to do (benches/pgo/build), which takes a fifth off
# the CPU time of a request. `--build-arg PGO=0` builds it once, in half the time.

ARG BUILD_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=scratch

FROM ${BUILD_IMAGE} AS build
ARG PGO=1
WORKDIR /thrust
COPY . .
# Static, so that it runs in any Linux image, whichever libc that has, or none.
ENV RUSTFLAGS="-C target-feature=+crt-static" CARGO_PROFILE_RELEASE_STRIP=symbols
RUN if [ "$PGO" = 0 ]; then \
      cargo install --path . --locked --no-track --target host-tuple --root /out; \
    else \
      benches/pgo/build --root /out; \
    fi

FROM ${RUNTIME_IMAGE}
COPY --from=build /out/bin/ /usr/local/bin/
# By number, since scratch knows no names; 1000 is the user in the images that Rails generates. Port 80 needs no privilege
# in a container of Docker's; where it does, set HTTP_PORT.
USER 1000:1000
EXPOSE 80 443
STOPSIGNAL SIGTERM
# Asks for what is there to be asked: the control socket, STATUS_PORT, or the front.
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["/usr/local/bin/thrustctl", "healthcheck"]
# The exec form: a shell in between would keep the signal for itself.
ENTRYPOINT ["/usr/local/bin/thrust"]
