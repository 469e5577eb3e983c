"""Use cases, one a file: no HTTP, no SQL; they see ports."""
