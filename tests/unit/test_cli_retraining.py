"""The parting of a site's captures for the measurement of a retraining."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from app.cli.retraining import split_site
from app.evaluation.dataset import parse_names

PEOPLE = st.dictionaries(st.integers(1, 999), st.integers(1, 10), min_size=1, max_size=8)


@given(PEOPLE, st.integers(1, 40), st.integers(1, 8))
def test_no_person_is_on_both_sides(people: dict[int, int], fingers: int, scans: int) -> None:
    names = [
        f"{person:03}_{finger}_{scan}.tif"
        for person, count in people.items()
        for finger in range(1, count + 1)
        for scan in range(1, 6)
    ]
    images = parse_names([Path(name) for name in names], None).images
    split = split_site(images, fingers, scans)
    learned = {image.finger for image in split.learned}
    assert not {image.subject for image in split.learned} & {one.subject for one in split.others}
    assert len(learned) + len({one.finger for one in split.others}) == sum(people.values())
    assert len(learned) >= min(fingers, sum(people.values()))
    assert len(split.learned) == len(learned) * min(scans, 5)
    assert {str(image.path)[-5] for image in split.learned} == {
        str(scan) for scan in range(1, min(scans, 5) + 1)
    }
    assert len(split.others) == 5 * (sum(people.values()) - len(learned))
    assert split_site(images[::-1], fingers, scans).learned == split.learned
