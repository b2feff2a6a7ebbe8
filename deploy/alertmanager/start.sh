#!/bin/sh
# Writes Alertmanager's configuration from settings and files, and becomes Alertmanager. Run in its
# container by compose.alerts.yaml; docs/operations.md ("Who is told") explains the settings.
set -eu
umask 077

place=${AIVO_ALERT_CONFIG:-/tmp/alertmanager.yml}
secrets=${AIVO_ALERT_SECRETS:-/run/secrets}

refuse() {
    echo "alertmanager: $1" >&2
    exit 2
}

# A YAML string, whatever is in it; it is printed by printf, for echo would read backslashes.
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; }

webhook=$(tr -d '[:space:]' <"$secrets/alert-webhook")
to=${AIVO_ALERT_EMAIL_TO:-}
user=${AIVO_ALERT_SMTP_USER:-}

case ${AIVO_ALERT_SMTP_TLS:-true} in
true | false) ;;
*) refuse "AIVO_ALERT_SMTP_TLS is true or false" ;;
esac
[ -n "$webhook$to" ] ||
    refuse "alerts would reach nobody: set AIVO_ALERT_EMAIL_TO, or put an address into deploy/secrets/alert-webhook"
case $webhook in
"" | http://* | https://*) ;;
*) refuse "deploy/secrets/alert-webhook holds no address that begins with http:// or https://" ;;
esac
if [ -n "$to" ]; then
    [ -n "${AIVO_ALERT_SMTP:-}" ] || refuse "AIVO_ALERT_EMAIL_TO needs AIVO_ALERT_SMTP, the mail server as host:port"
    [ -n "${AIVO_ALERT_EMAIL_FROM:-}" ] || refuse "AIVO_ALERT_EMAIL_TO needs AIVO_ALERT_EMAIL_FROM, the sender's address"
    [ -z "$user" ] || [ -s "$secrets/smtp-password" ] ||
        refuse "AIVO_ALERT_SMTP_USER needs its password in deploy/secrets/smtp-password"
fi

{
    cat <<'ROUTE'
route:
  receiver: operators
  group_by: [alertname, job]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 12h
  routes:
    # Users notice, and somebody should get up.
    - matchers: [severity="critical"]
      group_wait: 5s
      repeat_interval: 1h
inhibit_rules:
  # That none is up says that each is down.
  - source_matchers: [alertname="AivoServiceGone"]
    target_matchers: [alertname="AivoProcessDown"]
    equal: [job]
receivers:
  - name: operators
ROUTE
    if [ -n "$webhook" ]; then
        echo "    webhook_configs:"
        printf '      - url: %s\n' "$(quoted "$webhook")"
        echo "        send_resolved: true"
    fi
    if [ -n "$to" ]; then
        echo "    email_configs:"
        printf '      - to: %s\n' "$(quoted "$to")"
        echo "        send_resolved: true"
        echo "global:"
        printf '  smtp_smarthost: %s\n' "$(quoted "$AIVO_ALERT_SMTP")"
        printf '  smtp_from: %s\n' "$(quoted "$AIVO_ALERT_EMAIL_FROM")"
        echo "  smtp_require_tls: ${AIVO_ALERT_SMTP_TLS:-true}"
        if [ -n "$user" ]; then
            printf '  smtp_auth_username: %s\n' "$(quoted "$user")"
            printf '  smtp_auth_password_file: %s\n' "$(quoted "$secrets/smtp-password")"
        fi
    fi
} >"$place"

exec "${AIVO_ALERT_PROGRAM:-alertmanager}" --config.file="$place" "$@"
