"""The bucket in S3, or in what speaks its language (DigitalOcean Spaces, MinIO)."""

from __future__ import annotations

import os
import re
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aseagi_tasks import keys
from aseagi_tasks.errors import ConfigError, NotFound, RateLimited, StorageUnavailable
from aseagi_tasks.stores.storage import Stored

MULTIPART_BYTES = 8 * 1024 * 1024
_DOTS = re.compile(r"(?<=/)\.{1,2}(?=/|$)")
_MISSING = {"NoSuchKey", "404", "NotFound"}
_REFUSED = {"AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
_SLOW = {"SlowDown", "Throttling", "TooManyRequests", "RequestLimitExceeded"}


class S3Storage:
    """Objects in one bucket. Safe from several threads and after a fork: each process opens its own client.

    Retries are the SDK's own, in its adaptive mode. Every upload carries a CRC32 that the store checks.

    Args:
        bucket: must exist.
        endpoint_url, region: None for Amazon's own.
        access_key_id, secret_access_key: both, or neither to search the AWS tools' own places.
        attempts, timeout_s: per call; connect and read time-outs are the same.
    """

    def __init__(
        self,
        bucket: str,
        endpoint_url: str | None = None,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        *,
        attempts: int = 5,
        timeout_s: float = 30.0,
    ) -> None:
        self.bucket = bucket
        self._arguments: dict[str, Any] = {
            "endpoint_url": endpoint_url,
            "region_name": region or "us-east-1",
            "aws_access_key_id": access_key_id,
            "aws_secret_access_key": secret_access_key,
        }
        self._attempts, self._timeout_s = attempts, timeout_s
        self._opened: tuple[int, Any] | None = None
        self._lock = threading.Lock()

    def put(self, key: str, body: bytes) -> None:
        """Write a small object."""
        with self.translated(f"writing {key}", keys.check(key)):
            self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=body,
                ContentType=keys.content_type(key),
                ChecksumAlgorithm="CRC32",
            )

    def get(self, key: str) -> bytes:
        """Read a small object."""
        with self.translated(f"reading {key}", keys.check(key)):
            body: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
            return body

    def upload(self, path: Path, key: str) -> None:
        """Copy a file in, streaming (multipart above 8 MiB), checksum verified by the store."""
        extra = {"ContentType": keys.content_type(key), "ChecksumAlgorithm": "CRC32"}
        with self.translated(f"writing {key}", keys.check(key)):
            self.client.upload_file(str(path), self.bucket, key, ExtraArgs=extra, Config=self._transfer())

    def download(self, key: str, path: Path) -> None:
        """Copy an object out, streaming; ``path`` appears only when complete."""
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        with self.translated(f"reading {key}", keys.check(key)):
            try:
                self.client.download_file(self.bucket, key, str(partial), Config=self._transfer())
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)

    def stat(self, key: str) -> Stored | None:
        """The object as listed, or None."""
        keys.check(key)
        try:
            with self.translated(f"looking at {key}", key):
                found = self.client.head_object(Bucket=self.bucket, Key=key)
        except NotFound:
            return None
        return Stored(key, found["ContentLength"], found["LastModified"], found.get("ETag", "").strip('"'))

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """Objects whose key begins with ``prefix``, behind ``after``, by key, a thousand in memory at a time."""
        begin = {"StartAfter": after} if after else {}
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, **begin)
        walk = iter(pages)
        while True:
            with self.translated(f"listing {prefix}", prefix):
                page = next(walk, None)
            if page is None:
                return
            for found in page.get("Contents", ()):
                yield Stored(found["Key"], found["Size"], found["LastModified"], found.get("ETag", "").strip('"'))

    def delete(self, key: str) -> None:
        """Remove; a key that is not there is success."""
        with self.translated(f"removing {key}", keys.check(key)):
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def delete_all(self, prefix: str) -> int:
        """Remove everything below a prefix (not empty, ends with ``/``); returns how many."""
        if not prefix.endswith("/"):
            raise ValueError(f"{prefix!r} does not end with a slash")
        gone, batch = 0, []
        for there in self.list(prefix):
            batch.append({"Key": there.key})
            if len(batch) == 1000:
                gone += self._delete_batch(prefix, batch)
                batch = []
        return gone + (self._delete_batch(prefix, batch) if batch else 0)

    def url_get(self, key: str, expires_s: int) -> str:
        """An address that reads the object for a while. Never logged."""
        if self.stat(key) is None:
            raise NotFound(key, "the bucket")
        return self._signed("get_object", key, expires_s)

    def url_put(self, key: str, expires_s: int) -> str:
        """An address that writes the object for a while. Never logged."""
        return self._signed("put_object", key, expires_s)

    @property
    def client(self) -> Any:
        """The SDK's own, this process's."""
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                import boto3
                from botocore.config import Config

                config = Config(
                    retries={"mode": "adaptive", "total_max_attempts": self._attempts},
                    connect_timeout=self._timeout_s,
                    read_timeout=self._timeout_s,
                    signature_version="s3v4",
                    max_pool_connections=20,
                )
                # a session of its own: the default one is not safe to share between threads
                client = boto3.session.Session().client("s3", config=config, **self._arguments)
                self._opened = (os.getpid(), client)
            return self._opened[1]

    def _transfer(self) -> Any:
        from boto3.s3.transfer import TransferConfig

        return TransferConfig(
            multipart_threshold=MULTIPART_BYTES, multipart_chunksize=MULTIPART_BYTES, max_concurrency=4
        )

    def _signed(self, operation: str, key: str, expires_s: int) -> str:
        with self.translated("signing an address", keys.check(key)):
            url: str = self.client.generate_presigned_url(
                operation, Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=expires_s
            )
            # most clients take `..` out of an address, and leave %2E, which S3 reads as the dot that was signed
            path, mark, query = url.partition("?")
            return _DOTS.sub(lambda dots: dots[0].replace(".", "%2E"), path) + mark + query

    def _delete_batch(self, prefix: str, batch: Sequence[dict[str, str]]) -> int:
        with self.translated(f"removing {prefix}", prefix):
            answer = self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})
        if answer.get("Errors"):
            raise StorageUnavailable(f"removing {prefix}", answer["Errors"][0].get("Message", "refused"))
        return len(batch)

    @contextmanager
    def translated(self, doing: str, key: str) -> Iterator[None]:
        """The SDK's errors in our words."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

        try:
            yield
        except ClientError as exc:
            raise self._meaning(exc, doing, key) from exc
        except Boto3Error as exc:  # the transfer manager wraps what it meets in its own
            cause = exc.__cause__ or exc.__context__
            if isinstance(cause, ClientError):
                raise self._meaning(cause, doing, key) from exc
            raise StorageUnavailable(doing, str(exc)) from exc
        except (NoCredentialsError, PartialCredentialsError) as exc:
            raise ConfigError(
                "ASEAGI_S3_ACCESS_KEY_ID", "is not set.", "Set it and ASEAGI_S3_SECRET_ACCESS_KEY."
            ) from exc
        except (BotoCoreError, OSError) as exc:
            raise StorageUnavailable(doing, str(exc)) from exc

    def _meaning(self, exc: Any, doing: str, key: str) -> Exception:
        error = exc.response.get("Error", {})
        code, status = str(error.get("Code")), exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code == "NoSuchBucket":
            return ConfigError("ASEAGI_BUCKET", f"{self.bucket!r} does not exist.", "Make it, or name another.")
        if code in _MISSING:
            return NotFound(key, "the bucket")
        if code in _REFUSED or status in (401, 403):
            return ConfigError(
                "ASEAGI_S3_SECRET_ACCESS_KEY",
                f"does not open bucket {self.bucket!r} ({code} while {doing}).",
                "Check it, ASEAGI_S3_ACCESS_KEY_ID and ASEAGI_BUCKET.",
            )
        if code in _SLOW or status == 429:
            return RateLimited("Storage", 0.0)
        return StorageUnavailable(doing, f"{code}: {error.get('Message', '')}")
