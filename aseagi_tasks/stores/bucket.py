"""Sets the bucket up: made if it is missing, versions kept, leftovers expired, pages allowed to read from it.

Only what differs is written, so it may run any number of times; rules with other ids are somebody else's and stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ClientError

from aseagi_tasks.stores.s3 import S3Storage

#: `clean` empties cache/ of ended jobs after a day; what a crash left behind goes by itself after a week.
RULES: list[dict[str, Any]] = [
    {
        "ID": "aseagi-cache",
        "Status": "Enabled",
        "Filter": {"Prefix": "cache/"},
        "Expiration": {"Days": 7},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    },
    {
        "ID": "aseagi-old-versions",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    },
]
_NONE = {"NoSuchLifecycleConfiguration", "NoSuchCORSConfiguration", "NoSuchBucket", "404"}


def set_up(storage: S3Storage, origins: Sequence[str]) -> list[str]:
    """Bring the bucket to this.

    Args:
        origins: addresses of pages that may read by signed links, as ``https://monitor.example.com``.
    Returns:
        What was changed, in words; empty if it was so already.
    Raises:
        ConfigError: the key may not do this.
        StorageUnavailable, RateLimited: as always.
    """
    client, name, changed = storage.client, storage.bucket, []
    with storage.translated("setting the bucket up", ""):
        if _asked(lambda: client.head_bucket(Bucket=name)) is None:
            region = client.meta.region_name
            elsewhere = "amazonaws" in client.meta.endpoint_url and region != "us-east-1"
            where = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}
            client.create_bucket(Bucket=name, **where)
            changed.append(f"made {name}")
        if client.get_bucket_versioning(Bucket=name).get("Status") != "Enabled":
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
            changed.append("versions are kept for 30 days")
        there = _asked(lambda: client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]) or []
        ours = {rule["ID"] for rule in RULES}
        rules = [rule for rule in there if rule.get("ID") not in ours] + RULES
        if not _same(there, rules):
            client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
            changed.append("cache/ and unfinished uploads expire")
        wanted = [{"AllowedMethods": ["GET", "HEAD"], "AllowedOrigins": list(origins), "MaxAgeSeconds": 3600}]
        if origins and not _same(_asked(lambda: client.get_bucket_cors(Bucket=name)["CORSRules"]) or [], wanted):
            client.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": wanted})
            changed.append(f"{', '.join(origins)} may read by signed links")
    return changed


def _asked(ask: Callable[[], Any]) -> Any:
    """The answer, or None where there is nothing."""
    try:
        return ask()
    except ClientError as exc:
        if exc.response["Error"]["Code"] in _NONE:
            return None
        raise


def _same(there: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> bool:
    """Whether the store has all that is wanted; it may add fields of its own, and keep another order."""
    return len(there) == len(wanted) and all(any(_holds(one, rule) for one in there) for rule in wanted)


def _holds(there: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(_holds(there.get(name), value) for name, value in wanted.items())
    return bool(there == wanted)
