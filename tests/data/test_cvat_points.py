"""Clicks in CVAT's XML: round trips, files by hand, and hostile ones."""

import pytest
from click_files import CATEGORIES, HEIGHT, WIDTH, point_labels, shown
from hypothesis import given

from point2mask.data import DataError
from point2mask.data.formats import Pictures, read_cvat, to_labels
from point2mask.data.report import Report


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
        ("<annotations>" + "<a>" * 200_000, r"a\.xml:1: expected at most 20 levels of elements"),
        ("<annotations>&b;</annotations>", r"a\.xml: expected an XML of CVAT \(undefined entity"),
        ("<annotations>", r"a\.xml: expected an XML of CVAT \(no element found"),
        ("<?xml version='1.0' encoding='utf-K'?><a/>", r"a\.xml: .* \(unknown encoding: utf-K\)"),
        ("<?xml version='1.0' encoding='shift_jis'?><a/>", r"a\.xml: expected an XML of CVAT \("),
        ("<html/>", r"a\.xml:1: expected <annotations>, got <html>"),
        (cvat('\n<track><points frame="0" points="1,1"/></track>'), r"xml:2: .*frame_000000\.PNG"),
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


def test_cvat_groups_of_number_0_are_none(photos, tmp_path):
    shapes = [
        f'<points label="cat" points="{x},1" group_id="{g}"/>' for x, g in ((1, 0), (2, 0), (3, 4))
    ]
    (tmp_path / "a.xml").write_text(cvat(cvat_image("".join(shapes))))
    ((_, targets),) = to_labels(read_cvat(tmp_path / "a.xml", Pictures(photos)), "here").images
    assert [target.points for target in targets] == [((x, 1.0),) for x in (1.0, 2.0, 3.0)]


def test_cvat_shapes_that_cannot_be_used_are_skipped(photos, tmp_path):
    bad = '<points label="cat" points="2,2;3"/><points label="" points="1,2"/>'
    (tmp_path / "a.xml").write_text(cvat(cvat_image(bad + POINT)))
    pictures = Pictures(photos, report=Report(skip_broken=True))
    ((_, targets),) = to_labels(read_cvat(tmp_path / "a.xml", pictures), "here").images
    assert [target.points for target in targets] == [((1.0, 1.0),)]
    assert pictures.report.count("shapes") == 2


def video(*tasks, sizes):
    size = "<original_size><width>{}</width><height>{}</height></original_size>"
    meta = "".join(
        f"<task><id>{task}</id>{size.format(w, h)}</task>" for task, (w, h) in sizes.items()
    )
    tracks = "".join(
        f'<track id="0" label="cat" task_id="{task}" subset="default">'
        f'<points frame="0" outside="0" points="{x},1"/></track>'
        for task, x in tasks
    )
    return cvat(f"<meta><project><tasks>{meta}</tasks></project></meta>{tracks}")


def test_a_project_of_videos_has_clicks_on_one_of_them(photos, tmp_path):
    """Frames of all have the same names, and sizes of their own."""
    path = tmp_path / "a.xml"
    sizes = {"7": (8, 5), "8": (100, 50)}
    path.write_text(video(("8", 2), ("8", 4), sizes=sizes))
    (image,) = read_cvat(path, Pictures(None))
    assert (image.record.width, image.record.height, len(image.clicks)) == (100, 50, 2)
    path.write_text(video(("7", 2), ("8", 4), sizes=sizes))
    with pytest.raises(DataError, match=r"a\.xml:1: expected tracks of one video, got task '8'"):
        read_cvat(path, Pictures(None))
