"""ASEAGI: legal documents in, searchable text and structured facts with their evidence out."""

__version__ = "0.1.0"
