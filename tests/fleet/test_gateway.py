"""Enrolment and the worker gateway: what a machine gets for its jobs, what it is refused, and that all of it ends."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from pydantic import ValidationError
from redis import Redis, RedisError

from aseagi_tasks import errors, keys
from aseagi_tasks.analysis.claude import ClaudeAnalyst
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.analysis.service import Service
from aseagi_tasks.documents import Source
from aseagi_tasks.errors import (
    AseagiError,
    ConfigError,
    EnrolmentRefused,
    NotFound,
    NotSetUp,
    RateLimited,
    RecordsUnavailable,
)
from aseagi_tasks.fleet.allowance import Allowance
from aseagi_tasks.fleet.enrolment import ControlPlane, Credentials, Enrolment
from aseagi_tasks.fleet.invitations import INVITATION_S
from aseagi_tasks.settings import Settings
from aseagi_tasks.stages.analyze import find_facts
from aseagi_tasks.stages.batches import Batches
from aseagi_tasks.stages.workplace import Workplace
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.gateway import GatewayStorage, gateway_records
from aseagi_tasks.stores.records import ANYTHING, Document, Records
from aseagi_tasks.stores.sqlite import SqliteRecords
from tests.contract.conftest import s3_endpoint  # noqa: F401  (a fixture)
from tests.contract.test_analyst import ANSWER, ORDER, reading
from tests.contract.test_batches import Run
from tests.contract.test_storage import s3
from tests.servers.anthropic import KEY, AnthropicServer
from tests.servers.broker import Broker
from tests.servers.gateway import GatewayServer, with_key

NOW = datetime.now(UTC)


class Cloud:
    """The control plane's stores, and a gateway before them."""

    def __init__(self, folder: Path) -> None:
        self.records: Records = SqliteRecords(folder / "records.sqlite3")
        self.bucket = FolderStorage(folder / "bucket")

    def job(self, content: str) -> tuple[str, Document]:
        """A registered job of a document with these bytes; what a door does."""
        job_id = f"job-{content}"
        body = b"%PDF-1.4 " + content.encode()
        source = Source(
            key=f"raw/{content}.pdf", name=f"{content}.pdf", sha256=hashlib.sha256(body).hexdigest(), bytes=len(body),
            media_type="application/pdf",
        )  # fmt: skip
        self.bucket.put(source.key, body)
        self.records.register_job(job_id, source.key, "normal", None)
        return job_id, self.records.register_document(job_id, source, NOW)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as one:
        yield one


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def server(tmp_path: Path, broker: Broker, cloud: Cloud) -> Iterator[GatewayServer]:
    with GatewayServer(tmp_path, broker.redis, cloud.records, cloud.bucket, gateway_jobs=2) as one:
        yield one


def csr(folder: Path, name: str = "machine") -> str:
    return Credentials(folder / name).request(name)


# -- enrolment


def test_machine_enrolls_once_and_all_of_it_ends_together(
    server: GatewayServer, broker: Broker, cloud: Cloud, tmp_path: Path
) -> None:
    plane, token, request = ControlPlane(server.url), server.invitations.invite("i-1"), csr(tmp_path)
    answer = plane.enroll(token, request)
    given = Enrolment(**{name: answer[name] for name in Enrolment._fields})
    certificate = x509.load_pem_x509_certificate(given.certificate.encode())
    assert certificate.subject.rfc4514_string() == "CN=i-1"
    machine = Redis.from_url(broker.url_of(given.redis_user, given.redis_password))
    assert machine.ping()
    records = gateway_records(server.gateway("i-2"))
    job_id, _ = cloud.job("mine")
    gateway = server.gateway("i-1")  # it came with another token; both are its own
    assert gateway_records(gateway).begin_stage(job_id, "fetch", "w").job_id == job_id
    plane.report(given.gateway_token, {"state": "joined", "seconds_per_page": 0.5})
    assert server.reports == [("i-1", {"state": "joined", "seconds_per_page": 0.5})]
    assert (server.invitations.report_of("i-1") or {})["state"] == "joined"

    # the answer was lost: the same key gets another; a second key gets nothing
    assert plane.enroll(token, request)["instance"] == "i-1"
    with pytest.raises(EnrolmentRefused, match="used up"):
        plane.enroll(token, csr(tmp_path, "thief"))

    assert server.invitations.dismiss("i-1", NOW)
    with pytest.raises(RedisError):
        machine.ping()
    with pytest.raises(ConfigError, match="ASEAGI_GATEWAY_TOKEN"):
        gateway_records(gateway).job(job_id)
    with pytest.raises(EnrolmentRefused, match="401"):
        plane.report(given.gateway_token, {"state": "left"})
    with pytest.raises(EnrolmentRefused, match="unknown"):
        plane.enroll(token, request)
    assert {one.state(NOW) for one in server.authority.issued() if one.name == "i-1"} == {"revoked"}
    assert not server.invitations.dismiss("i-1", NOW)
    with pytest.raises(NotFound):  # the other machine is still let in
        records.events(job_id)


def test_invitation_ends_and_is_used_by_one_of_many_at_once(
    server: GatewayServer, broker: Broker, tmp_path: Path
) -> None:
    server.invitations.invite("i-1")
    (name,) = broker.redis.keys("aseagi:invited:*")
    assert 0 < broker.redis.ttl(name) <= INVITATION_S == 900
    broker.redis.delete(name)
    token = server.invitations.invite("i-1")
    assert token.encode() not in b"".join(broker.redis.keys("*"))
    came: list[str] = []

    def come(number: int) -> None:
        try:
            came.append(ControlPlane(server.url).enroll(token, csr(tmp_path, f"machine-{number}"))["instance"])
        except EnrolmentRefused as exc:
            came.append(str(exc))

    machines = [threading.Thread(target=come, args=(number,)) for number in range(6)]
    for machine in machines:
        machine.start()
    for machine in machines:
        machine.join(30)
    assert (len(came), came.count("i-1")) == (6, 1)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"token": 1, "csr": 2}', b'{"token": "x", "csr": "no request"}', b"x" * 30_000],
)
def test_what_is_no_request_gets_nothing_and_uses_nothing_up(
    server: GatewayServer, body: bytes, tmp_path: Path
) -> None:
    token = server.invitations.invite("i-1")
    answer = httpx.post(f"{server.url}/enroll", content=body.replace(b'"x"', json.dumps(token).encode()))
    assert answer.status_code in (400, 403)
    assert "error" in answer.json()
    assert ControlPlane(server.url).enroll(token, csr(tmp_path))["instance"] == "i-1"


# -- narrowing


def refused(call: Any) -> bool:
    try:
        call()
    except NotFound:
        return True
    return False


def test_machine_reaches_its_jobs_and_no_others(server: GatewayServer, cloud: Cloud) -> None:
    mine, document = cloud.job("mine")
    other, others = cloud.job("others")
    folder, others_folder = (keys.processed(one.document_id, one.created_at.date()) for one in (document, others))
    for key in (keys.cache(mine, "pages.json"), keys.cache(other, "pages.json"), f"{others_folder}/ocr.txt"):
        cloud.bucket.put(key, b"x")
    records, storage = server.records("i-1"), server.storage("i-1")
    neighbour = server.records("i-2")
    assert neighbour.begin_stage(other, "ocr", "w").job_id == other
    cloud.records.start_lease(other, "w of i-2", 60)

    def attempts(job_id: str, one: Document, place: str) -> dict[str, Any]:
        return {
            "job": lambda: records.job(job_id),
            "begin a stage": lambda: records.begin_stage(job_id, "fetch", "w"),
            "end a stage": lambda: records.end_stage(job_id, "fetch", 1, "w", {}),
            "events": lambda: records.events(job_id),
            "document": lambda: records.document(one.document_id),
            "claim": lambda: records.claim(job_id, one.document_id, NOW),
            "stat of raw": lambda: storage.stat(one.key),
            "read raw": lambda: storage.url_get(one.key, 60),
            "read cache": lambda: storage.url_get(keys.cache(job_id, "pages.json"), 60),
            "write cache": lambda: storage.url_put(keys.cache(job_id, "ocr.json"), 60),
            "list cache": lambda: list(storage.list(keys.cache(job_id))),
            "write results": lambda: storage.url_put(f"{place}/ocr.txt", 60),
            "delete metadata": lambda: storage.delete(f"{place}/metadata.json"),
        }

    assert refused(lambda: records.events(mine))  # before it was asked for
    assert records.register_job(mine, "raw/others.pdf", "high", "me").source == "raw/mine.pdf"
    assert {name: refused(call) for name, call in attempts(mine, document, folder).items() if refused(call)} == {}
    allowed = [name for name, call in attempts(other, others, others_folder).items() if not refused(call)]
    assert allowed == []

    for call in (
        lambda: records.register_job("made up", "raw/others.pdf", "high", None),
        lambda: records.jobs(),
        lambda: records.documents(),
        lambda: records.search("x"),
        lambda: records.texts([others.document_id]),
        lambda: records.page("documents", ["key"], "document_id", None, 10),
        lambda: records.add_rows("documents", "document_id", [{}]),
        lambda: records.take_over_leases(60),
        lambda: records.give_job(other, "i-1", 9),
        lambda: records.cancel(mine),
        lambda: records.admit(9, 60),
        lambda: records.drop_leases("w@i-2/", died=True),
        lambda: records.drop_leases("", died=False),
        lambda: records.drop_leases("w@i-1", died=False),  # of whom it is the beginning
        lambda: records.start_lease(mine, "w@i-2/1/2/", 60),
        lambda: records.begin_stage(mine, "fetch", "w", holder="w@i-2/1/2/", lease_s=60),
        lambda: records.add_texts({others.document_id: "x"}),
        lambda: records.api_tokens(),
        lambda: records.users(),
        lambda: records.costs(NOW),
        lambda: records.job("job-"),  # a beginning will not do
        lambda: list(storage.list("")),
        lambda: list(storage.list("cache/")),
        lambda: storage.delete_all("processed/"),
        lambda: storage.delete_all(keys.cache(other)),
        lambda: storage.url_put(document.key, 60),  # not even its own original
        lambda: storage.delete(document.key),
        lambda: storage.url_get("backups/2026/11/25/records.dump", 60),
        lambda: storage.url_get(keys.cache(mine, f"../{other}/pages.json"), 60),
        lambda: storage.url_put(f"{folder}/anything.html", 60),
        lambda: records.complete(mine, others.model_copy(update={"title": "forged"}), "text"),
        lambda: records.complete(mine, document.model_copy(update={"processed": others_folder}), "text"),
    ):
        assert refused(call)
    assert cloud.records.document(others.document_id) == others

    # money is metered by the gateway, whatever a machine says
    assert records.charge(mine, "claude", -100.0, once="x", detail={})
    assert cloud.records.costs(NOW - timedelta(days=1)) == {}

    # its own end is its own; what has ended is read a little longer, and not written
    done = document.model_copy(update={"processed": folder, "title": "Motion"})
    assert records.complete(mine, done, "the text")
    assert cloud.records.document(document.document_id).title == "Motion"
    assert not refused(lambda: storage.url_get(keys.cache(mine, "pages.json"), 60))
    assert refused(lambda: storage.url_put(f"{folder}/ocr.txt", 60))
    assert not refused(lambda: storage.delete_all(keys.cache(mine)))


def test_job_that_goes_to_another_machine_is_lost_to_the_first(server: GatewayServer, cloud: Cloud) -> None:
    job_id, _ = cloud.job("a")
    first, second = server.records("i-1"), server.records("i-2")
    first.begin_stage(job_id, "fetch", "w")
    first.end_stage(job_id, "fetch", 1, "w", {})
    second.begin_stage(job_id, "ocr", "w")
    assert refused(lambda: first.end_stage(job_id, "ocr", 1, "w", {}))
    assert refused(lambda: first.fail(job_id, "ocr", "X", "x"))
    assert cloud.records.job(job_id).status == "processing"


def test_machine_works_under_leases_of_its_own_nodes(server: GatewayServer, cloud: Cloud) -> None:
    job_id, document = cloud.job("a")
    first, second, mine = server.records("i-1"), server.records("i-2"), "w@i-1/1/2/"
    begun = first.begin_stage(job_id, "fetch", "w", holder=mine, lease_s=1e9)
    assert begun is not None and begun.status == "processing"
    assert refused(lambda: second.begin_stage(job_id, "fetch", "w", holder="w@i-2/1/2/", lease_s=60))
    assert not second.renew_lease(job_id, "w@i-2/1/2/", 60)
    assert not second.put_off(job_id, 60)
    assert first.renew_lease(job_id, mine, 1e9)
    assert first.texts([document.document_id]) == {}
    first.add_texts({document.document_id: "made findable"})
    assert first.texts([document.document_id]) == {document.document_id: "made findable"}
    assert first.end_stage(job_id, "fetch", 1, "w", {}, then="rasterize", holder=mine, lease_s=60)

    # between two stages it is whose who takes the message, and looks at it first
    assert second.job(job_id).stage == "rasterize"
    assert second.begin_stage(job_id, "rasterize", "w", holder="w@i-2/1/2/", lease_s=60)
    assert not first.put_off(job_id, 60, holder=mine)
    assert second.drop_leases("w@i-2/", died=True) == 1
    again = first.begin_stage(job_id, "rasterize", "w", holder=mine, lease_s=60)
    assert again is not None and again.deaths == 1
    assert first.put_off(job_id, 60, holder=mine, waits_for="money")
    assert refused(lambda: first.events(job_id)), "what waits is nobody's"
    assert first.start_lease(job_id, mine, 60)
    assert not refused(lambda: first.job(job_id))


def test_machine_has_no_more_than_so_many_jobs_at_a_time(server: GatewayServer, cloud: Cloud) -> None:
    records = server.records()
    jobs = [cloud.job(name)[0] for name in "abc"]
    for job_id in jobs[:2]:
        records.begin_stage(job_id, "fetch", "w")
    assert refused(lambda: records.begin_stage(jobs[2], "fetch", "w"))
    records.fail(jobs[0], "fetch", "Unreadable", "torn")
    assert records.begin_stage(jobs[2], "fetch", "w").job_id == jobs[2]


def test_bytes_that_nobody_registered_are_looked_at_here(server: GatewayServer, cloud: Cloud) -> None:
    _, secret = cloud.job("secret")
    cloud.bucket.put("raw/new.pdf", b"%PDF-1.4 new")
    cloud.records.register_job("j", "raw/new.pdf", "normal", None)
    records = server.records()
    records.register_job("j", "raw/new.pdf", "normal", None)
    lie = Source(key="raw/new.pdf", name="new.pdf", sha256=secret.sha256, bytes=1, media_type="image/png")
    document = records.register_document("j", lie, NOW)
    assert document.sha256 != secret.sha256
    assert document.media_type == "application/pdf"
    assert refused(lambda: records.document(secret.document_id))


def test_call_whose_answer_was_lost_is_made_once(server: GatewayServer, cloud: Cloud) -> None:
    job_id, _ = cloud.job("a")
    token = server.enroll("i-1")
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "the same"}
    body = {"job_id": job_id, "stage": "fetch", "worker": "w"}
    for _ in range(3):
        answer = httpx.post(f"{server.url}/records/begin_stage", json=body, headers=headers).json()["answer"]
    assert answer["deliveries"] == cloud.records.job(job_id).deliveries == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/records/begin_stage", {"job_id": "x", "stage": "none", "worker": "w"}, 409),
        ("/records/begin_stage", {"job_id": "x"}, 409),
        ("/records/begin_stage", {"job_id": "x", "stage": "ocr", "worker": "w", "more": 1}, 409),
        ("/records/begin_stage", [1], 409),
        ("/records/_write", {}, 404),
        ("/records/__init__", {}, 404),
        ("/storage/put", {"key": "x", "body": "x"}, 409),
        ("/nothing", {}, 404),
    ],
)
def test_malformed_calls_are_refused(server: GatewayServer, path: str, body: Any, status: int) -> None:
    headers = {"Authorization": f"Bearer {server.enroll('i-1')}"}
    assert httpx.post(server.url + path, json=body, headers=headers).status_code == status


def test_without_a_token_there_is_nothing(server: GatewayServer) -> None:
    for token in ("", "guess", "Bearer x"):
        for path in ("/records/job", "/storage/url_get", "/v1/messages", "/instances/report"):
            answer = httpx.post(server.url + path, json={}, headers={"Authorization": token})
            assert answer.status_code == 401


def test_machine_that_calls_too_often_is_told_to_wait(tmp_path: Path, broker: Broker, cloud: Cloud) -> None:
    job_id, _ = cloud.job("a")
    # a turn every hundred seconds: the first call has it, however slow this machine is
    with GatewayServer(tmp_path, broker.redis, cloud.records, cloud.bucket, gateway_calls_per_s=0.01) as server:
        records = server.records("i-1")
        headers = {"Authorization": f"Bearer {server.enroll('i-1')}"}
        statuses: list[int] = []

        def call() -> None:
            answer = httpx.post(f"{server.url}/records/job", json={"job_id": job_id}, headers=headers)
            statuses.append(answer.status_code)

        calls = [threading.Thread(target=call) for _ in range(8)]
        for one in calls:
            one.start()
        for one in calls:
            one.join(30)
        assert sorted(statuses) == [200] + 7 * [429]
        other = server.records("i-2")  # whose turn is its own
        assert refused(lambda: other.events(job_id))
    with pytest.raises(RecordsUnavailable):
        records.job(job_id)  # nobody answers


# -- Claude


@pytest.fixture
def anthropic() -> Iterator[AnthropicServer]:
    with AnthropicServer(lambda _body: ANSWER) as one:
        yield one


def test_claude_is_asked_with_the_key_and_metered(
    tmp_path: Path, broker: Broker, cloud: Cloud, anthropic: AnthropicServer
) -> None:
    job_id, _ = cloud.job("a")
    with GatewayServer(tmp_path, broker.redis, cloud.records, cloud.bucket, **with_key(KEY, anthropic.url)) as server:
        token = server.enroll("i-1")
        gateway_records(server.gateway("i-1")).begin_stage(job_id, "analyze", "w")
        claude = ClaudeAnalyst(Service(token, server.url), "claude-haiku-5-5")
        found = claude.analyze(reading(ORDER), "order.pdf")
        assert found.facts()["document_type"] == "order"
        assert cloud.records.costs(NOW - timedelta(days=1)) == pytest.approx({"claude": found.cost_usd})
        assert cloud.records.job(job_id).cost_usd == pytest.approx(found.cost_usd)
        (ledger,) = cloud.records.page("costs", ["detail"], "cost_id", None, 10)
        assert (ledger["detail"]["instance"], ledger["detail"]["model"]) == ("i-1", "claude-haiku-5-5")
        spent = float(broker.redis.get("aseagi:gateway:claude_usd:i-1") or 0)
        assert spent == pytest.approx(found.cost_usd)
        assert KEY not in str(anthropic.requests)

        before = len(anthropic.requests)
        for change in (
            {"model": "claude-opus-5-5"}, {"tools": []}, {"stream": True}, {"max_tokens": 10**6}, {"max_tokens": True},
            {"messages": "x"}, {"metadata": {"user_id": "x"}}, {"thinking": {"type": "enabled"}},
        ):  # fmt: skip
            body = {"model": "claude-haiku-5-5", "max_tokens": 10, "messages": [], **change}
            answer = httpx.post(f"{server.url}/v1/messages", json=body, headers={"x-api-key": token})
            assert answer.status_code == 400
        assert len(anthropic.requests) == before
        anthropic.faults["messages"] = [529]
        with pytest.raises(RateLimited):
            claude.analyze(reading(ORDER), "order.pdf")
        assert float(broker.redis.get("aseagi:gateway:claude_usd:i-1") or 0) == pytest.approx(spent)


def test_machine_processes_again_with_the_model_and_the_set_of_its_job(
    tmp_path: Path, broker: Broker, cloud: Cloud, anthropic: AnthropicServer
) -> None:
    first, document = cloud.job("a")
    cloud.records.cancel(first)
    cloud.records.register_again(
        {"again": document.document_id}, "reprocess:x", begins="analyze", analyst="claude-sonnet-5-5"
    )
    folder = keys.processed(document.document_id, document.created_at.date())
    with GatewayServer(tmp_path, broker.redis, cloud.records, cloud.bucket, **with_key(KEY, anthropic.url)) as server:
        token, records, storage = server.enroll("i-1"), server.records("i-1"), server.storage("i-1")
        opus, sonnet = (ClaudeAnalyst(Service(token, server.url), f"claude-{name}-5-5") for name in ("opus", "sonnet"))
        with pytest.raises(errors.Refused):
            sonnet.analyze(reading(ORDER), "order.pdf")  # it has no such job yet
        job = records.begin_stage("again", "analyze", "w")
        assert (job.analyst, job.begins) == ("claude-sonnet-5-5", "analyze")
        assert sonnet.analyze(reading(ORDER), "order.pdf").model == "claude-sonnet-5-5"
        with pytest.raises(errors.Refused):
            opus.analyze(reading(ORDER), "order.pdf")
        for name in ("ocr.json.gz", "versions/some-job/analysis.json", "versions/some-job/metadata.json"):
            cloud.bucket.put(f"{folder}/{name}", b"x")
            for call in (storage.url_put, storage.url_get):
                assert not refused(lambda name=name, call=call: call(f"{folder}/{name}", 60)), name
        for name in ("versions/some-job/page.html", "versions/../metadata.json", "versions/a/b/metadata.json"):
            assert refused(lambda name=name: storage.url_put(f"{folder}/{name}", 60)), name
        for call in (
            lambda: records.register_again({"more": document.document_id}, "me", begins=None),
            lambda: records.requested("reprocess:x"),
            lambda: records.count_documents(ANYTHING),
        ):
            assert refused(call)


@pytest.mark.parametrize("cap", ["gateway_claude_usd", "claude_daily_usd"])
def test_claude_beyond_a_cap_is_refused_before_it_is_asked(
    tmp_path: Path, broker: Broker, cloud: Cloud, anthropic: AnthropicServer, cap: str
) -> None:
    conf = {**with_key(KEY, anthropic.url), cap: 0.003}
    with GatewayServer(tmp_path, broker.redis, cloud.records, cloud.bucket, **conf) as server:
        claude = ClaudeAnalyst(Service(server.enroll("i-1"), server.url), "claude-haiku-5-5")
        asked = 0
        with pytest.raises(RateLimited) as late:
            for _ in range(100):
                claude.analyze(reading(ORDER), "order.pdf")
                asked += 1
        assert late.value.retry_after_s == 300
        assert len(anthropic.requests) == asked > 0
        assert sum(cloud.records.costs(NOW - timedelta(days=1)).values()) <= 0.003


@pytest.fixture
def batched(
    tmp_path: Path,
    broker: Broker,
    anthropic: AnthropicServer,
    s3_endpoint: str,  # noqa: F811
) -> Iterator[tuple[Run, GatewayServer]]:
    """Two jobs of a nightly run, up to analyze, on a machine that reaches everything by the gateway."""
    run = Run(tmp_path, anthropic, documents=2, storage=s3(s3_endpoint))
    conf = {**with_key(KEY, anthropic.url), "gateway_claude_usd": 1.0}
    with GatewayServer(tmp_path, broker.redis, run.records, run.storage, **conf) as server:
        yield run, server


def on_machine(run: Run, server: GatewayServer, job_id: str) -> Analysis | None:
    """What a machine's worker does at analyze."""
    gateway = server.gateway("i-1")
    place, read = run.jobs[job_id]
    records, there = gateway_records(gateway), Workplace(job_id, place.source, GatewayStorage(gateway), run.settings)
    records.begin_stage(job_id, "analyze", "w")
    claude = ClaudeAnalyst(Service(server.enroll("i-1"), server.url), "claude-haiku-5-5")
    return find_facts(there, read, claude, records, by_batch=True)


def test_bulk_documents_of_a_machine_go_by_batches_of_the_control_plane(
    batched: tuple[Run, GatewayServer], broker: Broker
) -> None:
    run, server = batched
    allowance = Allowance(broker.redis, 1.0)

    def tend() -> dict[str, int]:  # as ``control.batches``
        service = run.analyst.service
        return Batches(run.records, run.storage, service, run.went_on.append, wait_s=0, freed=allowance.give_back).tend(
            datetime.now(UTC)
        )

    def spent() -> float:
        return float(broker.redis.get("aseagi:gateway:claude_usd:i-1") or 0)

    for _delivery in range(2):
        assert [on_machine(run, server, job_id) for job_id in run.jobs] == [None, None]
    assert len(run.waiting) == 2
    assert run.records.search("granting"), "readable meanwhile"
    aside = spent()
    assert aside > 0
    assert tend() == {"answered": 0, "submitted": 2}
    assert tend() == {"answered": 2, "submitted": 0}
    assert sorted(run.went_on) == list(run.jobs)
    found = [on_machine(run, server, job_id) for job_id in run.jobs]
    assert [one and one.facts()["document_type"] for one in found] == ["order", "order"]
    assert run.server.requests == [], "none was asked for at the full price"
    assert run.paid == pytest.approx(sum(one.cost_usd for one in found if one))
    assert run.records.job("job-0").cost_usd == pytest.approx(found[0].cost_usd if found[0] else -1)
    assert run.paid == pytest.approx(spent()) and spent() < aside


def test_machine_leaves_no_request_of_another_kind_or_job_and_changes_none(
    batched: tuple[Run, GatewayServer], broker: Broker
) -> None:
    run, server = batched
    assert on_machine(run, server, "job-0") is None
    (key,) = run.waiting
    left = run.storage.get(key)
    storage = server.storage("i-1")
    params = json.loads(left)["params"]

    def put(key: str, **change: Any) -> None:
        storage.put(key, json.dumps({"params": {**params, **change}}).encode())

    another = key.replace("p1-1", "p1-2")
    for change in (
        {"model": "claude-opus-5-5"}, {"tools": []}, {"max_tokens": 10**6}, {"messages": "x"},
        {"thinking": {"type": "enabled"}},
    ):  # fmt: skip
        with pytest.raises(AseagiError, match="This is no call of put"):
            put(another, **change)
    with pytest.raises(AseagiError, match="This is no call of put"):
        storage.put(another, b"no json")
    for wrong in (
        key.replace("job-0", "job-1"), "batches/requests/job-0_p0-1.json", "batches/requests/job-0_x-1.json",
        "batches/requests/x/job-0_p1-1.json", "batches/requests/",
    ):  # fmt: skip
        with pytest.raises(NotFound):
            put(wrong)
    for call in (storage.url_put, storage.url_get):
        assert refused(lambda call=call: call(key, 60)), "it is written and read by the control plane alone"
    assert refused(lambda: storage.delete(key))
    put(key, max_tokens=16_000)
    assert run.storage.get(key) == left, "what is there may be on its way, and stays"

    # each costs of the machine's allowance
    put(another)
    with pytest.raises(RateLimited) as late:
        for number in range(3, 10_000):
            put(key.replace("p1-1", f"p1-{number}"))
            broker.redis.incrbyfloat("aseagi:gateway:claude_usd:i-1", 0.3)
    assert late.value.retry_after_s == 300
    assert len(run.waiting) < 8


def test_no_key_no_claude(server: GatewayServer) -> None:
    claude = ClaudeAnalyst(Service(server.enroll("i-1"), server.url), "claude-haiku-5-5")
    with pytest.raises(NotSetUp):
        claude.analyze(reading(ORDER), "order.pdf")


def test_settings_of_a_rented_machine() -> None:
    with pytest.raises(ValidationError, match="ASEAGI_GATEWAY_TOKEN"):
        Settings(storage="gateway")
    conf = Settings(storage="gateway", records="gateway", gateway_token="t", analyst="claude", gateway_port=1234)  # type: ignore[arg-type]
    assert conf.gateway_url == "http://127.0.0.1:1234"
