"""What `benchmarks/scale.py` is made of: rows in bulk, the questions that are asked of them, and a run through the queue."""
