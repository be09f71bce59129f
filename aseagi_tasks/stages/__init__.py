"""The chain, one plain function per stage."""
