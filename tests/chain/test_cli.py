"""The command line's refusals: exit codes by class of error, one sentence each, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import jwt
import pytest
from PIL import Image

from tests.chain.conftest import processes_of

ASEAGI = str(Path(sys.executable).with_name("aseagi"))


@pytest.fixture
def home() -> Iterator[Path]:
    with TemporaryDirectory(prefix="aseagi-cli-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def run(home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ASEAGI_HOME": str(home), **settings}
    return subprocess.run([ASEAGI, *arguments], env=environment, capture_output=True, text=True, timeout=200, cwd=home)


#: arguments, exit code, what is said
REFUSALS: list[tuple[tuple[str, ...], int, str]] = [
    # the first: it wants an empty store, and the others make one
    (("restore", "backups/2020/01/01/records-x.sqlite3"), 3, "was not found"),
    (("show", "0123456789abcdef"), 3, "was not found"),
    (("retry", "0123456789abcdef"), 3, "was not found"),
    (("cancel", "0123456789abcdef"), 3, "was not found"),
    (("process", "no such file.pdf"), 3, "no such file.pdf"),
    (("process", "."), 3, "PDF, JPG, PNG, TIFF"),
    (("process",), 2, "Usage"),
    (("status", "--only", "lost"), 2, "queued"),
    (("frobnicate",), 2, "No such command"),
    (("migrate",), 5, "ASEAGI_POSTGRES_URL"),
    (("token", "viewer"), 5, "ASEAGI_SUPABASE_JWT_SECRET"),
    (("import-records", "no such file.jsonl"), 5, "cannot be read"),
    (("export-records", "no such folder/x.jsonl"), 5, "cannot be written"),
    (("certificate", "--day", "2020-01-01", "--job", "x"), 2, "do not go together"),
    (("certificate", "--day", "yesterday"), 2, "yesterday"),
    (("certificate", "--job", "0123456789abcdef"), 3, "was not found"),
    (("verify", "exports/certificates/no.json"), 3, "was not found"),
    (("verify", "exports/certificates/no.pdf"), 3, "the JSON beside it"),
    (("verify", "exports/certificates/no.json", "--key", "no such file"), 5, "holds no public Ed25519 key"),
    (("make-key", "no such folder/key"), 5, "cannot be written"),
]
#: One process for all of them: most of a refusal's time is the program's start.
ONE_AFTER_ANOTHER = """
import contextlib, io, json, sys
from aseagi_tasks.doors.cli import main
ran = []
for arguments in json.load(sys.stdin):
    sys.argv = ["aseagi", *arguments]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            main()
        except SystemExit as left:
            ran.append([left.code, said.getvalue()])
json.dump(ran, sys.stdout)
"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], tuple[int, str]]:
    """Exit code and words of each."""
    home = tmp_path_factory.mktemp("refusals")
    asked = [arguments for arguments, _, _ in REFUSALS]
    ran = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_ANOTHER], input=json.dumps(asked), capture_output=True, text=True, timeout=200,
        env={**os.environ, "ASEAGI_HOME": str(home)}, cwd=home,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return {arguments: (code, said) for arguments, (code, said) in zip(asked, json.loads(ran.stdout), strict=True)}


@pytest.mark.parametrize(("arguments", "code", "said"), REFUSALS)
def test_refusal_has_its_code_and_sentence(
    refused: dict[tuple[str, ...], tuple[int, str]], arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert refused[arguments][0] == code, refused[arguments]
    assert said in refused[arguments][1]
    assert "Traceback" not in refused[arguments][1]


def test_records_move_from_one_home_to_another(home: Path, tmp_path: Path) -> None:
    assert json.loads(run(home, "export-records", "all.jsonl", "--json").stdout)["documents"]["rows"] == 0
    moved = run(tmp_path, "import-records", str(home / "all.jsonl"))
    assert moved.returncode == 0 and moved.stdout.startswith("0 documents, 0 bulk_runs, 0 processing_jobs")
    again = run(home, "export-records", "all.jsonl")
    assert again.returncode == 5 and "is there already" in again.stderr


def test_token_is_for_whom_it_says(home: Path) -> None:
    secret = {"ASEAGI_SUPABASE_JWT_SECRET": "a secret that is long enough for HS256"}
    made = run(home, "token", "worker", "--instance", "i-1", "--hours", "1", **secret)
    claims = jwt.decode(made.stdout.strip(), secret["ASEAGI_SUPABASE_JWT_SECRET"], algorithms=["HS256"])
    assert (claims["role"], claims["instance"], claims["exp"] - claims["iat"]) == ("aseagi_worker", "i-1", 3600)
    refused = run(home, "token", "worker", **secret)
    assert refused.returncode == 2 and "names its instance" in refused.stderr


def test_wrong_setting_is_said_before_anything_starts(home: Path) -> None:
    ran = run(home, "status", ASEAGI_BUKCET="x")
    assert ran.returncode == 5
    assert "ASEAGI_BUCKET" in ran.stderr
    assert list(home.iterdir()) == []


def test_missing_program_is_named_with_its_cure(home: Path) -> None:
    ran = run(home, "doctor", PATH=str(Path(sys.executable).parent))
    assert ran.returncode == 5
    for name in ("redis-server", "poppler-utils", "tesseract-ocr"):
        assert f"apt-get install {name}" in ran.stdout
    assert run(home, "up", PATH=str(Path(sys.executable).parent)).returncode == 5


def test_doctor_on_a_sound_machine_finds_nothing_fatal(home: Path) -> None:
    ran = run(home, "doctor", "--json")
    assert ran.returncode == 0, ran.stdout
    checks = {check["what"]: check for check in json.loads(ran.stdout)}
    assert {"python", "redis-server", "pdftoppm", "tesseract", "storage", "records", "broker", "analyst"} <= set(checks)
    assert checks["broker"]["cure"] == "`aseagi up` starts it."


def test_doctor_names_a_missing_language(home: Path) -> None:
    ran = run(home, "doctor", ASEAGI_OCR_LANGUAGES="eng+xho")
    assert ran.returncode == 5
    assert "tesseract-ocr-xho" in ran.stdout


def test_empty_records_are_no_error(home: Path) -> None:
    assert json.loads(run(home, "status", "--json").stdout)["jobs"] == []
    assert json.loads(run(home, "search", "anything", "--json").stdout) == []


def test_process_without_a_stack_starts_one_for_its_own_duration(home: Path) -> None:
    """One good file, one bad one: the exit code is the bad one's, and no process is left."""
    Image.new("L", (850, 1100), 255).save(home / "blank page.png", dpi=(100, 100))
    (home / "notes.pdf").write_text("only text")
    ran = run(home, "process", "blank page.png", "notes.pdf", "--json")
    assert ran.returncode == 3, ran.stderr
    blank, notes = json.loads(ran.stdout)
    assert (blank["status"], blank["text_sources"]) == ("completed", {"blank": 1})
    assert (notes["status"], notes["error_class"]) == ("error", "NotADocument")
    assert {name: value for name, value in blank["facts"].items() if value} == {}
    assert processes_of(home) == []
