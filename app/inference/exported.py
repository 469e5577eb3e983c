"""A network in one of the forms that Keras writes for other libraries."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras


@contextmanager
def exported(network: keras.Model, form: str, suffix: str, **options: Any) -> Iterator[Path]:
    """A file of it, for as long as it is needed."""
    network(keras.ops.zeros((1, *network.input_shape[1:])))  # Keras wants it to have been called
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converters, about each other's versions
        path = Path(folder) / f"encoder.{suffix}"
        network.export(str(path), format=form, verbose=False, **options)
        yield path
