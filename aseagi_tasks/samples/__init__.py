"""Realistic legal documents with known truth, made on the spot."""
