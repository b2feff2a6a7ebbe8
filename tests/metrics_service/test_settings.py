"""Settings have safe defaults and refuse values that cannot work."""

from __future__ import annotations

import pytest

from metrics_service.settings import PREFIX, MetricsSettings
from service_runtime.addresses import is_loopback
from service_runtime.settings import SettingsError, load


def test_the_defaults_listen_on_loopback_and_record() -> None:
    settings = load(MetricsSettings, {}, prefix=PREFIX)

    assert settings.listen == "127.0.0.1:8003"
    assert settings.exposition_listen == "127.0.0.1:8007"
    assert is_loopback(settings.listen)
    assert is_loopback(settings.exposition_listen)
    assert settings.recording


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("METRICS_EDGE_SILENCE_S", "0"),
        ("METRICS_TOTALS_INTERVAL_S", "-1"),
        ("METRICS_RECORD_QUEUE", "0"),
        ("METRICS_RECORD_RETENTION_DAYS", "0"),
        ("METRICS_ANALYTICS_RETENTION_DAYS", "nan"),
        ("METRICS_EXPOSITION_LISTEN", "8007"),
        ("METRICS_EXPOSITION_LISTEN", "localhost:99999"),
        ("METRICS_LISTEM", "1"),
    ],
)
def test_a_value_that_cannot_work_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        load(MetricsSettings, {variable: value}, prefix=PREFIX)


def test_the_exposition_can_be_switched_off() -> None:
    assert (
        load(MetricsSettings, {"METRICS_EXPOSITION_LISTEN": "off"}, prefix=PREFIX).exposition_listen
        == "off"
    )
