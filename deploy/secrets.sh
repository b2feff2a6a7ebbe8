#!/bin/sh
# Makes the secrets that compose.yaml mounts, each in a file of deploy/secrets. A secret that is
# there is never touched. The folder is its owner's alone. The files in it can be read by all,
# because compose mounts each one into containers whose users are not the owner's; on this machine
# nobody else gets past the folder.
set -eu
umask 077
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"
echo '*' >"$folder/.gitignore"

for name in service-credential admin-password grafana-password postgres-password valkey-password; do
    file="$folder/$name"
    if [ -s "$file" ]; then
        echo "kept  $file"
        continue
    fi
    # 32 random bytes, as letters, digits, - and _; moved into place whole.
    head -c 32 /dev/urandom | base64 | tr -d '=\n' | tr '+/' '-_' >"$file.new"
    chmod 444 "$file.new"
    mv "$file.new" "$file"
    echo "made  $file"
done

# Addresses with a password in them, for deploy/compose.scale.yaml.
for name in brain-database auth-database metrics-database brain-bus; do
    file="$folder/$name"
    [ ! -s "$file" ] || continue
    case $name in
    brain-bus) echo "valkey://:$(cat "$folder/valkey-password")@valkey:6379" ;;
    *) echo "postgresql://aivo:$(cat "$folder/postgres-password")@postgres/${name%-database}" ;;
    esac >"$file.new"
    chmod 444 "$file.new"
    mv "$file.new" "$file"
done

# What somebody else gives out, for deploy/compose.alerts.yaml; empty means that it is not used.
for name in alert-webhook smtp-password; do
    file="$folder/$name"
    [ -e "$file" ] || install -m 644 /dev/null "$file"
done
