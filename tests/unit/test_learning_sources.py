from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from app.core.errors import InvalidInput
from app.core.params import PictureParams
from app.imaging.picture import picture_pixels
from app.learning.siamese import archives, arrays
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.sources import describe_reading, read_pictures

SMALL = PictureParams(12, 10)
FACES = {f"s{person}/{shot}.png": 20 * person + shot for person in (1, 2, 10) for shot in (2, 10)}


def png(level: int, side_px: int = 16) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((side_px, side_px), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def fill(folder: Path, levels: Mapping[str, int]) -> Path:
    for name, level in levels.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(level))
    return folder


def tar_of(path: Path, members: Mapping[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zip_of(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def levels(pictures: LabelledPictures) -> list[int]:
    return [round(float(level)) for level in pictures.pixels[:, 0, 0] * 255]


def slug_of(source: Path, **options: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_pictures(source, SMALL, **options)  # type: ignore[arg-type]
    return caught.value.slug


def test_a_folder_a_class_is_read_in_natural_order(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    read = read_pictures(
        fill(tmp_path, FACES), SMALL, report=lambda done, of: told.append((done, of))
    )
    assert read.names == tuple(FACES)
    assert read.classes == read.subjects == ("s1", "s1", "s2", "s2", "s10", "s10")
    assert levels(read) == list(FACES.values())
    assert read.pixels.shape == (6, 12, 10)
    assert read.pixels.dtype == np.float32
    assert told == [(count, 6) for count in range(1, 7)]


def test_socofing_says_subject_and_condition(tmp_path: Path) -> None:
    names = [
        "Altered/Altered-Easy/1__M_Left_index_finger_CR.png",
        "Altered/Altered-Hard/1__M_Left_index_finger_Zcut.png",
        "Altered/Altered-Medium/2__F_Right_thumb_finger_Obl.png",
        "Real/1__M_Left_index_finger.png",
        "Real/2__F_Right_thumb_finger.png",
    ]
    read = read_pictures(fill(tmp_path, dict.fromkeys(names, 9)), SMALL)
    found = {
        name: (subject, label, condition)
        for name, subject, label, condition in zip(
            read.names, read.subjects, read.classes, read.conditions, strict=True
        )
    }
    assert found == {
        names[0]: ("1", "1_Left_index", "easy"),
        names[1]: ("1", "1_Left_index", "hard"),
        names[2]: ("2", "2_Right_thumb", "medium"),
        names[3]: ("1", "1_Left_index", "real"),
        names[4]: ("2", "2_Right_thumb", "real"),
    }


def test_the_condition_is_known_where_its_folder_is_the_source(tmp_path: Path) -> None:
    names = [
        f"{person}__M_Left_index_finger_{cut}.png" for person in (1, 2) for cut in ("CR", "Obl")
    ]
    folder = fill(tmp_path / "Altered-Hard", dict.fromkeys(names, 9))
    assert set(read_pictures(folder, SMALL).conditions) == {"hard"}


def test_a_pattern_of_the_callers_own_says_what_a_class_is(tmp_path: Path) -> None:
    names = [
        f"{person}__M_Left_{finger}_finger.png" for person in (1, 2) for finger in ("index", "ring")
    ]
    folder = fill(tmp_path, dict.fromkeys(names, 9))
    assert slug_of(folder) == "too_few_pictures"
    read = read_pictures(folder, SMALL, pattern=r"^(?P<subject>\d+)__")
    assert read.classes == ("1", "1", "2", "2")
    assert slug_of(folder, pattern="(") == "invalid_pattern"


def test_what_is_left_out_is_said_with_the_reason(tmp_path: Path) -> None:
    folder = fill(tmp_path, FACES)
    (folder / "s2" / "2.png").write_bytes(png(7)[:40])
    (folder / "README").write_text("faces")
    (folder / ".thumbs").mkdir()
    (folder / ".thumbs" / "1.png").write_bytes(png(7))
    (folder / "empty").mkdir()
    (folder / "s3").mkdir()
    (folder / "s3" / "1.png").write_bytes(b"no picture")
    read = read_pictures(folder, SMALL)
    assert [name for name in read.names if name.startswith("s2/")] == ["s2/10.png"]
    assert len(read) == 5
    assert set(read.skipped) == {
        ".thumbs",
        ".thumbs/1.png",
        "README",
        "empty/",
        "s2/2.png",
        "s3/",
        "s3/1.png",
    }
    said = describe_reading(read)
    assert said[0] == "5 pictures of 3 classes and 3 subjects"
    assert said[1] == "1 class has one picture only: it makes impostor pairs only"
    assert "1 skipped: not an image file by its name (README)" in said
    assert any("none of the supported formats" in line and "s3/1.png" in line for line in said)


def test_a_description_counts_conditions_and_gives_few_examples() -> None:
    pixels = np.zeros((3, 2, 2), np.float32)
    skipped = {f"{number}.txt": "no image" for number in range(5)}
    pictures = LabelledPictures(
        pixels, ("a", "b", "c"), ("a", "a", "c"), ("real", "easy", "real"), ("1", "2", "3"), skipped
    )
    assert describe_reading(pictures) == [
        "3 pictures of 3 classes and 2 subjects",
        "conditions: easy 1, real 2",
        "3 classes have one picture only: they make impostor pairs only",
        "5 skipped: no image (0.txt, 1.txt, 2.txt, ...)",
    ]
    assert describe_reading(pictures, examples=0)[3:] == ["5 skipped: no image"]


def test_nothing_usable_is_refused(tmp_path: Path) -> None:
    assert slug_of(tmp_path / "absent") == "no_labelled_pictures"
    assert slug_of(fill(tmp_path / "one", {"1_1.png": 1, "1_2.png": 2})) == "too_few_pictures"
    assert slug_of(fill(tmp_path / "alone", {"s1/1.png": 1, "s2/1.png": 2})) == "too_few_pictures"
    (tmp_path / "empty").mkdir()
    assert slug_of(tmp_path / "empty") == "no_labelled_pictures"
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "1_1.png").write_bytes(b"x")
    assert slug_of(broken) == "no_labelled_pictures"
    (tmp_path / "notes.txt").write_text("no data set")
    assert slug_of(tmp_path / "notes.txt") == "no_labelled_pictures"
    assert slug_of(tmp_path / "one", part="train") == "invalid_part"


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_reads_as_its_folder_does(tmp_path: Path, suffix: str) -> None:
    folder = fill(tmp_path / "faces", FACES)
    members = {f"./{name}": png(level) for name, level in reversed(FACES.items())}
    path = tmp_path / f"faces.{suffix}"
    if suffix == "zip":
        zip_of(path, members)
    else:
        tar_of(path, members, "w:" + suffix.partition(".")[2])
    read, expected = read_pictures(path, SMALL), read_pictures(folder, SMALL)
    assert read.names == expected.names
    assert read.classes == expected.classes
    np.testing.assert_array_equal(read.pixels, expected.pixels)
    assert read.skipped == {}


HOSTILE = {
    "../s1/1.png": "leads out",
    "/s1/1.png": "leads out",
    "C:\\s1\\1.png": "leads out",
    "s1\\..\\..\\1.png": "leads out",
    "inner.zip": "archive within",
    "__MACOSX/s1/._1.png": "hidden",
}


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_members_that_must_not_be_read_are_skipped(tmp_path: Path, suffix: str) -> None:
    pictures = {name: png(level) for name, level in FACES.items()}
    members = pictures | {name: png(1) for name in HOSTILE}
    make = zip_of if suffix == "zip" else tar_of
    read = read_pictures(make(tmp_path / f"faces.{suffix}", members), SMALL)
    assert read.names == tuple(FACES)
    assert set(read.skipped) == set(HOSTILE)
    for name, reason in HOSTILE.items():
        assert reason in read.skipped[name]


def test_links_in_archives_are_skipped(tmp_path: Path) -> None:
    pictures = {name: png(level) for name, level in FACES.items()}
    path = tar_of(tmp_path / "faces.tar", pictures, "w")
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("s1/11.png")
        link.type, link.linkname = tarfile.SYMTYPE, "2.png"
        archive.addfile(link)
    assert read_pictures(path, SMALL).skipped == {"s1/11.png": "a link or a special file"}
    zipped = zip_of(tmp_path / "faces.zip", pictures)
    with zipfile.ZipFile(zipped, "a") as opened:
        info = zipfile.ZipInfo("s1/11.png")
        info.external_attr = 0o120777 << 16
        opened.writestr(info, "2.png")
    assert read_pictures(zipped, SMALL).skipped == {"s1/11.png": "a link or a special file"}


def test_the_first_of_two_members_of_a_name_counts(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "faces.tar", {n: png(level) for n, level in FACES.items()}, "w")
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("s1/2.png")
        info.size = len(png(255))
        archive.addfile(info, io.BytesIO(png(255)))
    read = read_pictures(path, SMALL)
    assert levels(read) == list(FACES.values())
    assert list(read.skipped) == ["s1/2.png (again)"]


def test_archives_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {name: png(level) for name, level in FACES.items()}
    large = {"s1/3.png": bytes(5000)}
    paths = [
        tar_of(tmp_path / "a.tar.gz", pictures | large),
        zip_of(tmp_path / "a.zip", pictures | large),
    ]
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 4000)
    for path in paths:
        assert "bytes" in read_pictures(path, SMALL).skipped["s1/3.png"]
    monkeypatch.setattr(archives, "MAX_FILES", 6)
    assert [slug_of(path) for path in paths] == ["archive_too_large"] * 2
    monkeypatch.setattr(archives, "MAX_FILES", 7)
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 5000)
    assert [slug_of(path) for path in paths] == ["archive_too_large"] * 2


def test_headers_of_a_tar_count_towards_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("s1/1.png")
        info.pax_headers = {"comment": "x" * 200_000}
        archive.addfile(info)
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 100_000)
    assert slug_of(path) == "archive_too_large"


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_damaged_archives_are_refused(tmp_path: Path, suffix: str) -> None:
    pictures = {name: png(level) for name, level in FACES.items()}
    whole = tmp_path / f"whole.{suffix}"
    if suffix == "zip":
        zip_of(whole, pictures)
    else:
        tar_of(whole, pictures, "w:" + suffix.partition(".")[2])
    data = whole.read_bytes()
    cut, noise = tmp_path / f"cut.{suffix}", tmp_path / f"noise.{suffix}"
    cut.write_bytes(data[: len(data) // 3])
    noise.write_bytes(b"no archive at all" * 100)
    assert slug_of(cut) == "broken_pictures"
    assert slug_of(noise) == "broken_pictures"


def test_a_damaged_header_is_not_taken_for_the_end_of_a_tar(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "faces.tar", {n: png(level) for n, level in FACES.items()}, "w")
    data = bytearray(path.read_bytes())
    data[data.index(b"s10/2.png")] ^= 0xFF
    path.write_bytes(bytes(data))
    assert slug_of(path) == "broken_pictures"


def test_a_damaged_member_of_a_zip_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, level in FACES.items():
            archive.writestr(name, png(level))
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT")
    data[at + 6] ^= 0xFF
    path.write_bytes(bytes(data))
    read = read_pictures(path, SMALL)
    assert read.names == tuple(FACES)[1:]
    assert "cannot be read" in read.skipped["s1/2.png"]


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


def real(datasets: Path, name: str) -> Path:
    if not (datasets / name).exists():
        pytest.skip(f"no {name} among the data sets")
    return datasets / name


def test_the_faces_of_att_are_read(datasets: Path) -> None:
    read = read_pictures(real(datasets, "att_faces"), PictureParams(56, 46))
    assert len(read) == 400
    assert len(set(read.classes)) == 40
    assert read.names[9:11] == ("s1/10.pgm", "s2/1.pgm")


def test_the_real_faces_of_olivetti_stand_upright(datasets: Path) -> None:
    faces = read_pictures(real(datasets, "olivetti/olivettifaces.mat"), PictureParams(64, 64))
    brow, chin = faces.pixels[:, 4:16].mean((1, 2)), faces.pixels[:, 52:].mean((1, 2))
    left, right = faces.pixels[:, :, :12].mean((1, 2)), faces.pixels[:, :, 52:].mean((1, 2))
    # A forehead is brighter than a chin; of left and right neither is, whoever is asked.
    assert (brow > chin).mean() > 0.75
    assert abs((left > right).mean() - 0.5) < 0.2


def test_the_fingers_of_socofing_are_read(datasets: Path) -> None:
    params = PictureParams(48, 45, trim_px=(2, 4, 4, 2))
    read = read_pictures(real(datasets, "SOCOFing") / "Altered" / "Altered-Hard", params)
    assert set(read.conditions) == {"hard"}
    assert {Path(name).stem.rpartition("_")[2] for name in read.names} == {"CR", "Obl", "Zcut"}
    assert read.skipped == {}


def test_fashion_mnist_is_read(datasets: Path) -> None:
    read = read_pictures(real(datasets, "fashion-mnist"), PictureParams(28, 28), part="test")
    assert {read.classes.count(name) for name in arrays.FASHION_CLASSES} == {1000}
