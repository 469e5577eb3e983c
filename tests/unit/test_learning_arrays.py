"""Pictures that lie in arrays: IDX files and MATLAB's."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from app.core.errors import InvalidInput
from app.core.params import PictureParams
from app.imaging.picture import picture_pixels
from app.learning.siamese.sources import read_pictures
from tests.fakes.picture_files import SMALL, slug_of


def write_idx(folder: Path, part: str, images: np.ndarray, labels: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    head = struct.pack(">4I", 2051, *images.shape)
    (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
    head = struct.pack(">2I", 2049, len(labels))
    (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head + labels.tobytes()))
    return folder


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    generator = np.random.default_rng(3)
    labels = np.array([9, 0, 9, 4], np.uint8)
    images = generator.integers(0, 256, (4, 12, 10), np.uint8)
    write_idx(tmp_path / "mnist", "train", images, labels)
    return write_idx(tmp_path / "mnist", "t10k", images[:3, ::-1], labels[:3])


def test_idx_files_are_read_by_part(digits: Path) -> None:
    train = read_pictures(digits, SMALL)
    test = read_pictures(digits, SMALL, part="test")
    assert train.classes == train.subjects == ("9", "0", "9", "4")
    assert train.names == ("train/0", "train/1", "train/2", "train/3")
    assert test.names[0] == "test/0"
    np.testing.assert_array_equal(test.pixels[0], train.pixels[0, ::-1])
    assert slug_of(digits, part="valid") == "invalid_part"


@pytest.mark.parametrize(
    "params",
    [
        SMALL,
        PictureParams(12, 10, "standard"),
        PictureParams(6, 5),
        PictureParams(12, 10, trim_px=(1, 1, 1, 1)),
    ],
)
def test_idx_pictures_are_prepared_as_any_picture(digits: Path, params: PictureParams) -> None:
    raw = np.random.default_rng(3).integers(0, 256, (4, 12, 10), np.uint8)
    expected = np.stack([picture_pixels(image, params) for image in raw])
    np.testing.assert_allclose(read_pictures(digits, params).pixels, expected, atol=1e-5)


def test_fashion_mnist_has_its_names_by_its_folder(digits: Path) -> None:
    folder = digits.rename(digits.with_name("Fashion_MNIST"))
    assert read_pictures(folder, SMALL).classes == (
        "Ankle boot",
        "T-shirt/top",
        "Ankle boot",
        "Coat",
    )


def test_damaged_idx_files_are_refused(digits: Path) -> None:
    path = digits / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    plain = gzip.decompress(whole)
    for damaged in (
        whole[:-20],
        b"not gzip",
        gzip.compress(plain[:-1]),
        gzip.compress(plain + b"x"),
        gzip.compress(plain[:7]),
        gzip.compress(struct.pack(">I", 2049) + plain[4:]),
        gzip.compress(struct.pack(">4I", 2051, 2**31, 2**31, 2**31)),
        gzip.compress(struct.pack(">4I", 2051, 3, 12, 10) + plain[16 : 16 + 360]),
    ):
        path.write_bytes(damaged)
        assert slug_of(digits) == "broken_pictures"
    path.write_bytes(whole)
    write_idx(digits, "t10k", np.zeros((2, 12, 10), np.uint8), np.array([1, 10], np.uint8))
    assert slug_of(digits, part="test") == "broken_pictures"
    (digits / "train-labels-idx1-ubyte.gz").unlink()
    assert slug_of(digits) == "no_labelled_pictures"


def test_keras_is_asked_only_for_a_folder_called_fashion_mnist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = pytest.importorskip("keras")

    def unreachable() -> None:
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", unreachable)
    with pytest.raises(InvalidInput, match="Keras cannot fetch") as caught:
        read_pictures(tmp_path / "fashion-mnist", SMALL, part="test")
    assert caught.value.slug == "no_labelled_pictures"
    assert slug_of(tmp_path / "mnist", part="test") == "invalid_part"
    images, labels = np.zeros((3, 12, 10), np.uint8), np.array([1, 1, 8], np.uint8)
    monkeypatch.setattr(
        keras.datasets.fashion_mnist,
        "load_data",
        lambda: ((images, labels), (images[:0], labels[:0])),
    )
    read = read_pictures(tmp_path / "fashion-mnist", SMALL)
    assert read.classes == ("Trouser", "Trouser", "Bag")


def test_olivetti_faces_stand_upright(tmp_path: Path) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (400, 64, 64), np.uint8)
    columns = faces.transpose(0, 2, 1).reshape(400, 4096).T
    savemat(tmp_path / "olivettifaces.mat", {"faces": columns})
    read = read_pictures(tmp_path / "olivettifaces.mat", PictureParams(64, 64))
    np.testing.assert_array_equal(np.round(read.pixels * 255), faces)
    assert read.classes[9:11] == ("person_01", "person_02")
    assert read.names[19] == "person_02/10"
    assert len(set(read.subjects)) == 40


@pytest.mark.parametrize(
    "content",
    [
        {"photos": np.zeros((4096, 400), np.uint8)},
        {"faces": np.zeros((400, 4096), np.uint8)},
        {"faces": np.full((4096, 400), 0.5)},
        {"faces": np.full((4096, 400), 256)},
    ],
)
def test_other_mat_files_are_refused(tmp_path: Path, content: dict[str, object]) -> None:
    savemat(tmp_path / "other.mat", content, do_compression=True)
    assert slug_of(tmp_path / "other.mat") == "broken_pictures"


def test_a_damaged_mat_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(60))
    assert slug_of(tmp_path / "cut.mat") == "broken_pictures"
