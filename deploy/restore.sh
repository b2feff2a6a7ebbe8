#!/bin/sh
# Puts a folder that deploy/backup.sh made back into the volumes of compose.yaml, while nothing runs:
# `make restore FROM=backups/…`. What is there stays beside it, under another name.
set -eu
cd "$(dirname "$0")/.."

folder=${1:?say which folder: make restore FROM=backups/…}
for file in brain.sqlite3 auth.sqlite3 auth-keys.json metrics.sqlite3; do
    if [ ! -s "$folder/$file" ]; then
        echo "$folder has no $file: it is no whole backup" >&2
        exit 1
    fi
done
if [ -n "$(docker compose ps --quiet brain auth metrics)" ]; then
    echo "something runs here; stop it before: make down" >&2
    exit 1
fi
# A container that is given a file, moves it into place whole, and goes.
put() {
    docker compose run --rm --no-deps -T --entrypoint sh "$1" \
        -c "umask 077 && cat >/data/$3.new && mv /data/$3.new /data/$3" <"$folder/$2"
}
for name in brain auth metrics; do
    put $name $name.sqlite3 restore.sqlite3
    docker compose run --rm --no-deps -T $name ${name}_service restore /data/restore.sqlite3 >&2
    docker compose run --rm --no-deps -T --entrypoint rm $name /data/restore.sqlite3
done
put auth auth-keys.json auth-keys.json
