"""Whorl: fingerprint verification as a service."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("whorl")
except PackageNotFoundError:  # running from a tree that was never installed
    __version__ = "0.0.0"
