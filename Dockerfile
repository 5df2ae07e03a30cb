FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS TARGETARCH VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/plimsoll ./server \
    && mkdir /out/data

# static has CA roots (APNs, Redis over TLS) and time zones (--time-zone); nonroot is user 65532.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/plimsoll /plimsoll
# A new volume takes its owner from the folder in the image.
COPY --from=build --chown=65532:65532 /out/data /data
WORKDIR /data
VOLUME /data
ENV PLIMSOLL_LISTEN=0.0.0.0:8080 \
    PLIMSOLL_STORE=bolt:/data/plimsoll.db
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=6s --start-period=30s CMD ["/plimsoll", "healthcheck"]
ENTRYPOINT ["/plimsoll"]
