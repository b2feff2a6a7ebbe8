"""The auth service: sign-ins, tokens, decisions."""

from __future__ import annotations

from deploy.grafana.panels import RATE, Panel, call_panels, panel, process_panels, quantiles

PANELS: tuple[Panel, ...] = (
    panel(
        "Sign-ins",
        "A second, by outcome.",
        (f"sum by (outcome) (rate(aivo_auth_logins_total{RATE}))", "{{outcome}}"),
        unit="cps",
        stacked=True,
    ),
    panel(
        "Sign-in duration",
        "Most of it hashes the password, on purpose.",
        *quantiles("aivo_auth_login_duration_seconds"),
        unit="s",
    ),
    panel(
        "Refreshes",
        "A second, by outcome; a reused token ends its session.",
        (f"sum by (outcome) (rate(aivo_auth_refreshes_total{RATE}))", "{{outcome}}"),
        unit="cps",
    ),
    panel(
        "Tokens verified",
        "A second, by outcome.",
        (f"sum by (outcome) (rate(aivo_auth_tokens_verified_total{RATE}))", "{{outcome}}"),
        unit="cps",
    ),
    panel(
        "Decisions",
        "Answers to whether somebody may do something, a second.",
        (f"sum by (outcome) (rate(aivo_auth_decisions_total{RATE}))", "{{outcome}}"),
        unit="cps",
    ),
    panel(
        "Revocations",
        "Changes told to edges a second, and streams cut because they lagged.",
        (f"sum(rate(aivo_auth_revocations_total{RATE}))", "changes"),
        (f"sum(rate(aivo_auth_revocation_streams_cut_total{RATE}))", "streams cut"),
        unit="cps",
    ),
    panel(
        "Revocation streams",
        "Edges that hear of revocations.",
        "aivo_auth_revocation_streams",
        width=12,
    ),
    panel("People", "In memory.", "aivo_auth_people", width=12),
    *call_panels("aivo-auth"),
    *process_panels("aivo-auth"),
)
