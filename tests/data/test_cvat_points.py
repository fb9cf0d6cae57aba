"""Clicks in CVAT's XML: round trips, files by hand, and hostile ones."""

import pytest
from click_files import CATEGORIES, HEIGHT, WIDTH, point_labels, shown
from hypothesis import given

from point2mask.data import DataError
from point2mask.data.formats import Pictures, read_cvat, to_labels


def cvat(*images):
    return f"<?xml version='1.0' encoding='utf-8'?><annotations>{''.join(images)}</annotations>"


def cvat_image(content, name="a.png", size=(HEIGHT, WIDTH)):
    return f'<image id="0" name="{name}" width="{size[1]}" height="{size[0]}">{content}</image>'


@given(labels=point_labels())
def test_cvat_round_trip(photos, tmp_path, labels):
    images = []
    for record, targets in labels.images:
        shapes = []
        for target in targets:
            name = labels.categories[target.category_id].name.replace('"', "&quot;")
            points = ";".join(f"{x!r},{y!r}" for x, y in target.points)
            shapes.append(f'<points label="{name}" points="{points}" group_id="{target.id}"/>')
        images.append(cvat_image("\n".join(shapes), record.file_name))
    (tmp_path / "a.xml").write_text(cvat(*images))
    got = to_labels(read_cvat(tmp_path / "a.xml", Pictures(None)), "here", CATEGORIES)
    # Without pictures nobody knows how viewers turn them: the record says it.
    assert got == shown(labels)


BOMB = (
    '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
    "<annotations>&c;</annotations>"
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotations>&b;</annotations>'
POINT = '<points label="cat" points="1,1"/>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, r"a\.xml:1: expected XML without a document type"),
        (OUTSIDE, r"a\.xml:1: expected XML without a document type"),
        ("<annotations>&b;</annotations>", r"a\.xml: expected an XML of CVAT \(undefined entity"),
        ("<annotations>", r"a\.xml: expected an XML of CVAT \(no element found"),
        ("<?xml version='1.0' encoding='utf-K'?><a/>", r"a\.xml: .* \(unknown encoding: utf-K\)"),
        ("<?xml version='1.0' encoding='shift_jis'?><a/>", r"a\.xml: expected an XML of CVAT \("),
        ("<html/>", r"a\.xml:1: expected <annotations>, got <html>"),
        (cvat("\n<track/>"), r"a\.xml:2: label: expected text"),
        (
            cvat(cvat_image("\n\n<polygon/>")),
            r"expected points, got none; left out: 1 shapes of the kind polygon, .*a\.xml:3",
        ),
        (cvat(cvat_image('\n<points points="1,1"/>')), r"a\.xml:2: label: expected text"),
        (cvat(cvat_image('\n<points label="cat" points="1"/>')), r"a\.xml:2: points: expected x,y"),
        (cvat(cvat_image('<points label="cat" points="1,2;"/>')), "points: expected x,y;x,y;"),
        (cvat(cvat_image('<points label="cat" points="8.1,2"/>')), "expected a point inside 8 x 5"),
        (cvat(cvat_image('<points label="c" points="1,2" group_id="x"/>')), "group_id: expected"),
        (cvat(cvat_image(POINT, "../a.png")), r"a\.xml:1: name: expected a relative path"),
        (cvat(cvat_image(POINT, size=(5, 9))), r"expected the size of .*, 8 x 5, got 9 x 5"),
        (cvat(cvat_image(POINT, size=("5", "x"))), "width: expected an integer >= 1"),
        (cvat(cvat_image(POINT), cvat_image(POINT)), "expected every image once, got 'a.png'"),
        (cvat(cvat_image("")), "expected points, got none"),
    ],
)
def test_cvat_that_is_none(photos, tmp_path, text, message):
    path = tmp_path / "a.xml"
    path.write_text(text)
    pictures = Pictures(photos)
    with pytest.raises(DataError, match=message) as caught:
        to_labels(read_cvat(path, pictures), path, report=pictures.report)
    assert str(path) in str(caught.value)


def test_cvat_shapes_and_attributes(photos, tmp_path):
    """An element of several points is one target, its attributes are not looked at."""
    inside = '<points label="cat" points="1,1;2,2"><attribute name="x">y</attribute></points>'
    (tmp_path / "a.xml").write_text(cvat("<meta><task/></meta>", cvat_image(inside + POINT)))
    with pytest.raises(DataError, match="expected at most one point in a pixel"):
        to_labels(read_cvat(tmp_path / "a.xml", Pictures(photos)), "here")
    other = POINT.replace("1,1", "3,3")
    (tmp_path / "a.xml").write_text(cvat("<meta><task/></meta>", cvat_image(inside + other)))
    ((_, targets),) = to_labels(read_cvat(tmp_path / "a.xml", Pictures(photos)), "here").images
    assert [len(target.points) for target in targets] == [2, 1]
