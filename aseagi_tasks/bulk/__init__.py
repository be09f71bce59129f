"""Bulk runs: what is in the bucket and not done yet, quoted, confirmed, done under a cap, and certified."""
