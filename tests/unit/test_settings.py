"""Settings are validated at start, and .env.example tells the truth about them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aseagi_tasks.errors import ConfigError
from aseagi_tasks.settings import PREFIX, SECRETS, Settings, load

ROOT = Path(__file__).parents[2]
NOWHERE = Path("/nonexistent/.env")
EXAMPLE = dict(re.findall(r"^#?(ASEAGI_\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))


def test_example_lists_every_setting_and_no_other() -> None:
    assert {PREFIX + name.upper() for name in Settings.model_fields} == set(EXAMPLE)


@pytest.mark.parametrize("name", sorted(EXAMPLE))
def test_example_shows_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASEAGI_HOME", raising=False)
    default = getattr(load(NOWHERE), name.removeprefix(PREFIX).lower())
    shown = EXAMPLE[name]
    if shown:
        monkeypatch.setenv(name, shown)
        assert getattr(load(NOWHERE), name.removeprefix(PREFIX).lower()) == default
    else:
        assert default is None or name == "ASEAGI_CPU_WORKERS"


def test_example_copied_as_it_is_is_a_valid_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASEAGI_HOME", raising=False)
    uncommented = re.sub(r"^#(ASEAGI_)", r"\1", (ROOT / ".env.example").read_text(), flags=re.MULTILINE)
    (tmp_path / ".env").write_text(uncommented)
    assert load(tmp_path / ".env") == load(NOWHERE)


def test_unknown_variable_is_an_error_that_names_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASEAGI_BUKCET", "x")
    with pytest.raises(ConfigError, match=r"ASEAGI_BUKCET.*Did you mean ASEAGI_BUCKET\?"):
        load(NOWHERE)


def test_unknown_variable_in_the_file_is_an_error_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ASEAGI_DIP=300\n")
    with pytest.raises(ConfigError, match=r"ASEAGI_DIP.*ASEAGI_DPI"):
        load(tmp_path / ".env")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ASEAGI_DPI", "9", "ASEAGI_DPI: .*150"),
        ("ASEAGI_DPI", "many", "ASEAGI_DPI"),
        ("ASEAGI_STORAGE", "tape", "ASEAGI_STORAGE.*folder.*s3"),
        ("ASEAGI_RECORDS", "supabase", "ASEAGI_SUPABASE_URL and ASEAGI_SUPABASE_KEY"),
        ("ASEAGI_SUPABASE_URL", "http://example.com", "ASEAGI_SUPABASE_URL begins with https"),
        ("ASEAGI_ANALYST", "claude", "ASEAGI_ANTHROPIC_API_KEY"),
        ("ASEAGI_TELEGRAM_BASE_URL", "http://example.com", "ASEAGI_TELEGRAM_BASE_URL begins with https"),
        ("ASEAGI_TELEGRAM_WEBHOOK_URL", "https://example.com/t", "ASEAGI_TELEGRAM_WEBHOOK_SECRET: 16"),
        ("ASEAGI_TELEGRAM_WEBHOOK_URL", "http://example.com/t", "begins with https"),
        ("ASEAGI_OCR_LANGUAGES", "eng; rm -rf /", "ASEAGI_OCR_LANGUAGES"),
        ("ASEAGI_TIME_ZONE", "Mars/Olympus", "ASEAGI_TIME_ZONE.*America/New_York"),
        ("ASEAGI_TIME_ZONE", "../../etc/passwd", "ASEAGI_TIME_ZONE"),
        ("ASEAGI_FLEET", "vast", "ASEAGI_VAST_API_KEY and ASEAGI_FLEET_IMAGE"),
        ("ASEAGI_VAST_URL", "http://example.com", "ASEAGI_VAST_URL begins with https"),
        ("ASEAGI_FLEET_PRICE_CAPS", "RTX 3090", "ASEAGI_FLEET_PRICE_CAPS"),
        ("ASEAGI_FLEET_QUEUES", "control", "ASEAGI_FLEET_QUEUES"),
        ("ASEAGI_HOME", "/" + "long/" * 30, "ASEAGI_HOME is too long"),
    ],
)
def test_wrong_value_is_an_error_that_names_the_variable(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=said):
        load(NOWHERE)


def test_half_of_the_s3_credentials_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASEAGI_STORAGE", "s3")
    monkeypatch.setenv("ASEAGI_S3_ACCESS_KEY_ID", "AKIA")
    with pytest.raises(ConfigError, match="ASEAGI_S3_SECRET_ACCESS_KEY"):
        load(NOWHERE)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "ASEAGI_BROKER_URL",
        "ASEAGI_S3_SECRET_ACCESS_KEY",
        "ASEAGI_ANTHROPIC_API_KEY",
        "ASEAGI_SUPABASE_KEY",
        "ASEAGI_SUPABASE_JWT_SECRET",
        "ASEAGI_POSTGRES_URL",
        "ASEAGI_TELEGRAM_TOKEN",
        "ASEAGI_TELEGRAM_WEBHOOK_SECRET",
        "ASEAGI_VAST_API_KEY",
    ):
        monkeypatch.setenv(name, "redis://:hunter2@localhost")
    monkeypatch.setenv("ASEAGI_S3_ACCESS_KEY_ID", "AKIA")
    loaded = load(NOWHERE)
    assert "hunter2" not in repr(loaded) + str(loaded) + loaded.model_dump_json()
    assert "hunter2" in loaded.broker


SECRET_NAMES = [f"{PREFIX}{name.upper()}" for name in SECRETS]


def test_every_secret_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ASEAGI_ANTHROPIC_API_KEY" in SECRET_NAMES
    for name in SECRET_NAMES:
        (tmp_path / name).write_text(f"redis://hunter2-{name}\n")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    monkeypatch.setenv("ASEAGI_S3_ACCESS_KEY_ID", "AKIA")
    loaded = load(NOWHERE)
    for name in SECRET_NAMES:
        value = getattr(loaded, name.removeprefix(PREFIX).lower())
        assert value.get_secret_value() == f"redis://hunter2-{name}"
    assert "hunter2" not in repr(loaded) + loaded.model_dump_json()


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), (" \n", "is empty"), ("a\nb", "one line")])
def test_secret_file_that_is_none_is_an_error_that_does_not_show_it(
    content: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    monkeypatch.setenv("ASEAGI_SUPABASE_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(ConfigError, match=rf"ASEAGI_SUPABASE_KEY_FILE.*{said}"):
        load(NOWHERE)


def test_secret_both_in_a_file_and_beside_it_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASEAGI_SUPABASE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("ASEAGI_SUPABASE_KEY", "hunter2")
    with pytest.raises(ConfigError, match="both set") as caught:
        load(NOWHERE)
    assert "hunter2" not in str(caught.value)


def test_only_secrets_have_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASEAGI_BUCKET_FILE", "/etc/passwd")
    with pytest.raises(ConfigError, match="not a setting"):
        load(NOWHERE)
