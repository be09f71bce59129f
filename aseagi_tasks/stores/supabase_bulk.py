"""Bulk runs in Postgres, by Supabase's client. Every write is one SQL function."""

from __future__ import annotations

from aseagi_tasks.stores.supabase_api import SupabaseApi


class SupabaseBulk(SupabaseApi):
    """Implements ``bulk_records.BulkRecords``."""
