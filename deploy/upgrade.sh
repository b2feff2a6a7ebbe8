#!/bin/sh
# Replaces what runs by what compose.yaml and the image say now, one container at a time, and only
# what changed: `make upgrade`. Before an edge goes, its successor serves; the sockets of the one
# that goes are sent elsewhere. Of brain, auth and metrics there is one each: while it restarts,
# clients wait and send again.
set -eu
cd "$(dirname "$0")/.."

edges=$(docker compose ps --quiet edge)
if [ -z "$edges" ]; then
    echo "no edge runs here, so there is nothing to replace: make up" >&2
    exit 1
fi
count=$(echo "$edges" | wc -l)

for service in metrics auth brain; do
    docker compose up --detach --no-build --no-deps --wait $service
done

# What a container was made from, and what one made now would be made from.
made_from() { docker inspect --format '{{index .Config.Labels "com.docker.compose.config-hash"}} {{.Image}}' "$1"; }
settings=$(docker compose config --hash edge | cut -d ' ' -f 2)
image=$(docker compose config --format json edge | sed -n 's/^ *"image": "\(.*\)",*$/\1/p' | head -n 1)
wanted="$settings $(docker image inspect --format '{{.Id}}' "$image")"
for edge in $edges; do
    [ "$(made_from "$edge")" != "$wanted" ] || continue
    if ! docker compose up --detach --no-build --no-deps --no-recreate --wait \
        --scale edge=$((count + 1)) edge; then
        echo "the new edge is not healthy; the others go on. docker compose logs edge says why" >&2
        exit 1
    fi
    docker stop "$edge" >/dev/null
    docker rm "$edge" >/dev/null
done

# The proxy and what operators look at; a proxy that changed cuts all sockets.
docker compose up --detach --no-build --wait --scale edge="$count"
