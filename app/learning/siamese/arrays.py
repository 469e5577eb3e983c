"""Data sets that come as arrays: the Olivetti faces, and the idx files of (Fashion-)MNIST."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import io

from app.core.errors import InvalidInput
from app.core.params import PictureParams
from app.core.types import FloatArray
from app.imaging.picture import FLAT_DEVIATION, picture_pixels
from app.learning.prints import Report
from app.learning.siamese.pictures import LabelledPictures

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
PARTS = {"train": "train", "test": "t10k"}
FACES_SHAPE = (4096, 400)
FACE_SIDE_PX = 64
FACES_A_PERSON = 10
MAX_IDX_BYTES = 2 * 1024**3
_IMAGES_MAGIC = 2051
_LABELS_MAGIC = 2049

Levels = NDArray[np.uint8]


def read_faces(
    source: Path, params: PictureParams, report: Report | None = None
) -> LabelledPictures:
    """The Olivetti faces (AT&T Laboratories Cambridge) as Roweis' .mat file holds them.

    Raises:
        InvalidInput: ``broken_pictures``, the file has no grey levels ``faces`` [4096, 400].
    """
    columns = _load_faces(source)
    # A column is a face read downwards, column by column.
    faces = columns.T.reshape(-1, FACE_SIDE_PX, FACE_SIDE_PX).transpose(0, 2, 1)
    rows = range(len(faces))
    people = tuple(f"person_{row // FACES_A_PERSON + 1:02d}" for row in rows)
    names = tuple(f"{people[row]}/{row % FACES_A_PERSON + 1}" for row in rows)
    pixels = _scaled(np.ascontiguousarray(faces), params, report)
    return LabelledPictures(pixels, people, people, ("",) * len(faces), names)


def has_idx(source: Path) -> bool:
    """Whether a folder holds idx files as MNIST is given out."""
    return any((source / _file(name, "images")).is_file() for name in PARTS.values())


def is_fashion(source: Path) -> bool:
    """Whether a folder is called Fashion-MNIST; its files do not say."""
    return source.name.lower().replace("_", "-") == "fashion-mnist"


def read_idx(
    source: Path, params: PictureParams, part: str = "train", report: Report | None = None
) -> LabelledPictures:
    """A part of Fashion-MNIST or MNIST from its idx files (LeCun et al., 1998).

    Classes have the names of Fashion-MNIST where the folder is called so, else "0" to "9". A
    picture's subject is its class: nothing else is known of it.

    Args:
        part: "train" or "test".

    Raises:
        InvalidInput: no such part (slug ``invalid_part``), a file is not there
            (``no_labelled_pictures``) or damaged (``broken_pictures``).
    """
    _check_part(part)
    images = _read_array(source / _file(PARTS[part], "images"), _IMAGES_MAGIC, 3)
    labels = _read_array(source / _file(PARTS[part], "labels"), _LABELS_MAGIC, 1)
    titles = FASHION_CLASSES if is_fashion(source) else tuple(str(k) for k in range(10))
    if len(images) != len(labels) or (len(labels) and labels.max() >= len(titles)):
        raise InvalidInput(
            f"{source.name} has {len(images)} pictures and {len(labels)} labels of the part "
            f"{part}; it needs one label from 0 to {len(titles) - 1} a picture",
            slug="broken_pictures",
        )
    return _labelled(images, labels, titles, params, part, report=report)


def read_fashion(
    source: Path, params: PictureParams, part: str = "train", report: Report | None = None
) -> LabelledPictures:
    """A part of Fashion-MNIST as Keras fetches and keeps it, for where the folder is not there.

    Raises:
        InvalidInput: no such part (slug ``invalid_part``), or there is no network
            (``no_labelled_pictures``).
    """
    _check_part(part)
    import keras

    try:
        train, test = keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception where the address is not reached
        raise InvalidInput(
            f"{source.name} is not there, and Keras cannot fetch Fashion-MNIST: {error}; "
            f"put its four files, like {_file('train', 'images')}, into a folder fashion-mnist",
            slug="no_labelled_pictures",
        ) from error
    images, labels = train if part == "train" else test
    return _labelled(images, labels, FASHION_CLASSES, params, part, report=report)


def _load_faces(source: Path) -> Levels:
    try:
        # The shapes first: a few compressed bytes can announce an array of any size.
        shapes = {name: shape for name, shape, _ in io.whosmat(source)}
        faces = np.zeros(0)
        if shapes.get("faces") == FACES_SHAPE:
            faces = np.asarray(io.loadmat(source, variable_names=["faces"])["faces"])
    except Exception as error:  # SciPy raises TypeError, zlib.error, NotImplementedError and more
        raise InvalidInput(
            f"{source.name} is damaged or not a .mat file: {error}", slug="broken_pictures"
        ) from error
    levels = faces.astype(np.uint8) if _are_levels(faces) else None
    if levels is None:
        shown = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "none"
        raise InvalidInput(
            f"{source.name} needs an array faces {list(FACES_SHAPE)} of grey levels from 0 to 255, "
            f"a face a column; it holds {shown}",
            slug="broken_pictures",
        )
    return levels


def _are_levels(values: NDArray[Any]) -> bool:
    """Whether an array holds 8 bit grey levels; MATLAB may call them doubles."""
    if not values.size or values.dtype.kind not in "iuf":
        return False
    return bool(np.all((values >= 0) & (values <= 255) & (values == np.floor(values))))


def _check_part(part: str) -> None:
    if part not in PARTS:
        raise InvalidInput(
            f"there is no part {part!r}; ask for {' or '.join(PARTS)}", slug="invalid_part"
        )


def _file(part: str, kind: str) -> str:
    return f"{part}-{kind}-idx{3 if kind == 'images' else 1}-ubyte.gz"


def _read_array(path: Path, magic: int, axes: int) -> Levels:
    """The array of an idx file: magic number, length of every axis, then bytes."""
    if not path.is_file():
        raise InvalidInput(f"{path.name} is not in its folder", slug="no_labelled_pictures")
    try:
        with gzip.open(path) as file:
            found, *shape = struct.unpack(f">{axes + 1}I", file.read(4 * (axes + 1)))
            if found != magic:
                raise ValueError(f"it begins with {found}, not with {magic}")
            count = math.prod(shape)
            if count > MAX_IDX_BYTES:
                raise ValueError(
                    f"it announces {count:,} bytes; at most {MAX_IDX_BYTES:,} are read"
                )
            data = file.read(count + 1)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise InvalidInput(
            f"{path.name} is damaged or not an idx file: {error}", slug="broken_pictures"
        ) from error
    if len(data) != count:
        fault = "more" if len(data) > count else f"{len(data):,}"
        raise InvalidInput(
            f"{path.name} announces {count:,} bytes and holds {fault}", slug="broken_pictures"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _labelled(
    images: Levels,
    labels: Levels,
    titles: tuple[str, ...],
    params: PictureParams,
    part: str,
    *,
    report: Report | None,
) -> LabelledPictures:
    classes = tuple(titles[label] for label in labels.tolist())
    names = tuple(f"{part}/{row}" for row in range(len(images)))
    pixels = _scaled(images, params, report)
    return LabelledPictures(pixels, classes, classes, ("",) * len(images), names)


def _scaled(images: Levels, params: PictureParams, report: Report | None) -> FloatArray:
    """``picture_pixels`` of every picture; at once where none changes its size."""
    if images.shape[1:] != params.shape_px or any(params.trim_px):
        pixels = np.empty((len(images), *params.shape_px), np.float32)
        for row, image in enumerate(images):
            pixels[row] = picture_pixels(image, params)
            if report is not None:
                report(row + 1, len(images))
        return pixels
    pixels = images.astype(np.float32)
    pixels /= np.float32(255.0)
    if params.scaling == "standard":
        pixels -= pixels.mean((1, 2), keepdims=True)
        pixels /= np.maximum(pixels.std((1, 2), keepdims=True), FLAT_DEVIATION)
    if report is not None:
        report(len(images), len(images))
    return pixels
