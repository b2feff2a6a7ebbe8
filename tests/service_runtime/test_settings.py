"""Settings come from a mapping, all problems at once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from service_runtime.settings import REQUIRED, SettingsError, describe, load, setting


class Colour(StrEnum):
    RED = "red"
    DARK_BLUE = "dark-blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    port: int = setting(8000, "Port.")
    password: str | None = setting(None, "Password.", secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example(Base):
    name: str = setting(REQUIRED, "Name.")
    ratio: float = setting(0.5, "Ratio.")
    debug: bool = setting(False, "Debug.", env="DEBUG")
    origins: tuple[str, ...] = setting((), "Origins.")
    path: Path | None = setting(None, "Path.")
    colour: Colour = setting(Colour.RED, "Colour.")


def test_values_are_converted_and_defaults_kept() -> None:
    environ = {
        "X_NAME": "n",
        "X_PORT": "1",
        "DEBUG": "yes",
        "X_ORIGINS": "a, b",
        "X_PATH": "p",
        "X_RATIO": "",
        "X_COLOUR": "dark-blue",
    }

    assert load(Example, environ, prefix="X") == Example(
        name="n",
        port=1,
        debug=True,
        origins=("a", "b"),
        path=Path("p"),
        ratio=0.5,
        colour=Colour.DARK_BLUE,
    )


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "X_NAME is required"),
        ({"X_NAME": "n", "X_PORT": "many"}, "X_PORT: must be a whole number"),
        ({"X_NAME": "n", "X_RATIO": "nan"}, "X_RATIO: must be a finite number"),
        ({"X_NAME": "n", "DEBUG": "perhaps"}, "DEBUG: must be true or false"),
        ({"X_NAME": "n", "X_COLOUR": "mauve"}, "X_COLOUR: must be one of red, dark-blue"),
        ({"X_NAME": "n", "X_PROT": "1"}, "X_PROT is not a setting"),
        ({"X_NAME": "n", "X_PASSWORD_FILE": "nowhere"}, "cannot read X_PASSWORD_FILE"),
        ({"X_NAME": "n", "X_PASSWORD": "a", "X_PASSWORD_FILE": "b"}, "not both"),
    ],
)
def test_each_problem_says_which_variable_and_why(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(Example, environ, prefix="X")


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load(Example, {"X_PORT": "many", "X_PASSWORT": "1"}, prefix="X")

    assert len(str(caught.value).splitlines()) == 3


def test_what_others_put_under_our_prefix_is_told_and_not_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kubernetes = {
        "X_SERVICE_HOST": "10.0.0.1",
        "X_SERVICE_PORT": "8000",
        "X_SERVICE_PORT_HTTP": "8000",
        "X_PORT_8001_TCP": "tcp://10.0.0.1:8001",
        "X_PORT_8001_TCP_ADDR": "10.0.0.1",
        "X_AUTH_PORT": "tcp://10.0.0.2:80",
    }
    settings = load(Example, {"X_NAME": "n", "X_QUITE_ANOTHER": "1", **kubernetes}, prefix="X")

    assert settings.name == "n"
    assert caplog.messages == ["X_QUITE_ANOTHER is not a setting of this process and is ignored"]


def test_a_secret_is_read_from_its_file_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")

    settings = load(
        Example, {"X_NAME": "n", "X_PASSWORD_FILE": str(tmp_path / "secret")}, prefix="X"
    )

    assert settings.password == "hunter2"
    assert "hunter2" not in repr(settings)


def test_the_description_names_every_variable_with_its_default() -> None:
    text = describe(Example, prefix="X")

    assert "X_NAME\n      Name. [required]" in text
    assert "X_PASSWORD (or X_PASSWORD_FILE)" in text
    assert "DEBUG\n      Debug. [default: false]" in text
