#!/bin/sh
# Copies what must not be lost out of the running containers of compose.yaml into a new folder, by
# default backups/ and the time: `make backup`. The folder is its owner's alone, and is there only
# when every copy is whole. deploy/restore.sh puts it back.
set -eu
cd "$(dirname "$0")/.."
umask 077

folder=${1:-backups/$(date -u +%Y-%m-%dT%H-%M-%SZ)}
if [ -e "$folder" ]; then
    echo "$folder is there already; name another folder" >&2
    exit 1
fi
mkdir -p "$(dirname "$folder")"
partial=$(mktemp -d "$folder.partial.XXXXXX")
copy=/data/backup-$(date +%s)-$$.sqlite3
trap 'rm -rf "$partial"' EXIT

# Answers before people: a learner without answers does no harm, answers of nobody would.
for name in brain auth metrics; do
    docker compose exec -T $name python -m ${name}_service backup "$copy" >&2
    docker compose cp "$name:$copy" "$partial/$name.sqlite3" 2>/dev/null
    docker compose exec -T $name rm "$copy"
done
docker compose cp auth:/data/auth-keys.json "$partial/auth-keys.json" 2>/dev/null
mv "$partial" "$folder"
trap - EXIT
echo "$folder"
