"""What `benchmarks/scale.py` is made of: rows in bulk, what is asked of them, and a run."""
