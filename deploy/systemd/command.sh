#!/bin/sh
# Runs a command of a service with the settings and as the user that its unit has:
#   sudo deploy/systemd/command.sh auth set-password you@school.example
#   sudo deploy/systemd/command.sh brain backup /var/lib/aivo/brain/copy.sqlite3
set -eu
name=${1:?name brain, auth or metrics, then the command}
shift
cd "$(dirname "$0")/../.."
set -a
. "${AIVO_ETC:-/etc/aivo}/$name.env"
set +a
# The first administrator is the service's matter; commands go by the database alone.
unset AUTH_BOOTSTRAP_ADMIN_EMAIL
as=
[ "$(id -u)" -ne 0 ] || as="setpriv --reuid=${AIVO_USER:-aivo} --regid=${AIVO_USER:-aivo} --clear-groups"
exec $as .venv/bin/python -m "${name}_service" "$@"
