"""Setting the bucket up, against a real S3 server."""

from __future__ import annotations

import uuid

import pytest

from aseagi_tasks.errors import StorageUnavailable
from aseagi_tasks.stores.bucket import set_up
from aseagi_tasks.stores.s3 import S3Storage

PAGE = "https://aseagi.example.com"


def storage(endpoint: str) -> S3Storage:
    return S3Storage(f"test-{uuid.uuid4().hex}", endpoint, "us-east-1", "test", "test", attempts=1, timeout_s=5)


def test_bucket_is_made_and_set_up_once(s3_endpoint: str) -> None:
    one = storage(s3_endpoint)
    assert len(set_up(one, [PAGE])) == 4
    assert set_up(one, [PAGE]) == []
    assert one.client.get_bucket_versioning(Bucket=one.bucket)["Status"] == "Enabled"
    rules = one.client.get_bucket_lifecycle_configuration(Bucket=one.bucket)["Rules"]
    cache = next(rule for rule in rules if rule["ID"] == "aseagi-cache")
    assert cache["Filter"] == {"Prefix": "cache/"}
    assert cache["Expiration"]["Days"] == 7
    (cors,) = one.client.get_bucket_cors(Bucket=one.bucket)["CORSRules"]
    assert cors["AllowedOrigins"] == [PAGE]
    assert set(cors["AllowedMethods"]) == {"GET", "HEAD"}


def test_what_others_set_stays_and_what_was_changed_comes_back(s3_endpoint: str) -> None:
    one = storage(s3_endpoint)
    set_up(one, [])
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "exports/"}, "Expiration": {"Days": 90}}
    one.client.put_bucket_lifecycle_configuration(Bucket=one.bucket, LifecycleConfiguration={"Rules": [theirs]})
    assert set_up(one, []) == ["cache/ and unfinished uploads expire"]
    rules = one.client.get_bucket_lifecycle_configuration(Bucket=one.bucket)["Rules"]
    assert {rule["ID"] for rule in rules} == {"theirs", "aseagi-cache", "aseagi-old-versions"}
    assert set_up(one, [PAGE]) == [f"{PAGE} may read by signed links"]


def test_store_that_is_away_is_said_so() -> None:
    with pytest.raises(StorageUnavailable):
        set_up(storage("http://127.0.0.1:9"), [])
