#!/bin/sh
# Replaces what runs by what compose.yaml and the image say now, one container at a time, and only
# what changed: `make upgrade`. Before an edge goes, its successor serves; the sockets of the one
# that goes are sent elsewhere. The same where there are several brains or auth services. Of one that
# is alone with its SQLite file there can be no second: while it restarts, clients wait and send
# again.
set -eu
cd "$(dirname "$0")/.."

if [ -z "$(docker compose ps --quiet edge)" ]; then
    echo "no edge runs here, so there is nothing to replace: make up" >&2
    exit 1
fi

# What a container was made from, and what one made now would be made from.
made_from() { docker inspect --format '{{index .Config.Labels "com.docker.compose.config-hash"}} {{.Image}}' "$1"; }
wanted() {
    settings=$(docker compose config --hash "$1" | cut -d ' ' -f 2)
    image=$(docker compose config --format json "$1" | sed -n 's/^ *"image": "\(.*\)",*$/\1/p' | head -n 1)
    echo "$settings $(docker image inspect --format '{{.Id}}' "$image")"
}

count_of() { docker compose ps --quiet "$1" | wc -l; }

# One after the other, each when its successor is healthy.
replace_each() {
    count=$(count_of "$1")
    for container in $(docker compose ps --quiet "$1"); do
        [ "$(made_from "$container")" != "$(wanted "$1")" ] || continue
        if ! docker compose up --detach --no-build --no-deps --no-recreate --wait \
            --scale "$1=$((count + 1))" "$1"; then
            echo "the new $1 is not healthy; the others go on. docker compose logs $1 says why" >&2
            exit 1
        fi
        docker stop "$container" >/dev/null
        docker rm "$container" >/dev/null
    done
}

# Databases on a server first: older services go on with a newer schema.
for service in $(docker compose config --services | grep -- '-migrate$' || true); do
    docker compose run --rm --no-deps "$service"
done

for service in metrics auth brain; do
    if [ "$(count_of $service)" -gt 1 ]; then
        replace_each $service
    else
        docker compose up --detach --no-build --no-deps --wait $service
    fi
done
replace_each edge

# The proxy and what operators look at; a proxy that changed cuts all sockets.
docker compose up --detach --no-build --wait \
    --scale edge="$(count_of edge)" --scale brain="$(count_of brain)" --scale auth="$(count_of auth)"
