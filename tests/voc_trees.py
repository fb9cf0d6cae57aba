"""Miniature trees as the archives of VOC 2012 and SBD unpack to, with known contents."""

import numpy as np
from PIL import Image
from scipy import sparse
from scipy.io import savemat

CAT, DOG, PERSON = 8, 12, 15
SIZE = 24, 32


def voc_maps():
    """Two cats, one of which touches a person; their borders are 255."""
    classes, objects = np.zeros((2, *SIZE), np.uint8)
    for number, category, rows, columns in (
        (1, CAT, slice(2, 10), slice(2, 12)),
        (2, PERSON, slice(6, 22), slice(16, 24)),
        (3, CAT, slice(12, 20), slice(24, 31)),
    ):
        classes[rows, columns], objects[rows, columns] = category, number
        for both in (classes, objects):
            both[rows, columns.start] = both[rows.start, columns] = 255
    return classes, objects


def sbd_maps():
    """Three instances, the first of which is covered by the others; Categories is a column."""
    numbers = np.zeros(SIZE, np.uint8)
    numbers[3:9, 4:20] = 2
    numbers[10:, :9] = 3
    return numbers, np.array([[DOG], [CAT], [PERSON]], np.float64)


def write_picture(path, size=SIZE, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_indices(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values).convert("P")
    image.putdata(values.ravel().tolist())
    image.putpalette([part for value in range(256) for part in (value, 255 - value, 7)])
    image.save(path)


def write_voc(folder, train=("2007_000001", "2008_000002"), val=("2007_000003",)):
    """``VOC2012`` whose images all have the maps above, shifted by their index."""
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    names = {"train": train, "val": val, "trainval": (*train, *val)}
    for split, of_split in names.items():
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in of_split))
    for index, name in enumerate(names["trainval"]):
        classes, objects = (np.roll(values, index, 1) for values in voc_maps())
        write_picture(folder / "JPEGImages" / f"{name}.jpg", seed=index)
        write_indices(folder / "SegmentationClass" / f"{name}.png", classes)
        write_indices(folder / "SegmentationObject" / f"{name}.png", objects)
    return folder


def write_instances(path, numbers, categories, compressed=True):
    """A file with the variable, the fields and the types of SBD's ``inst/*.mat``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    boundaries = np.empty((len(categories), 1), object)
    for number in range(len(categories)):
        boundaries[number, 0] = sparse.csc_array(numbers == number + 1)
    fields = {"Segmentation": numbers, "Boundaries": boundaries, "Categories": categories}
    savemat(path, {"GTinst": fields}, do_compression=compressed)


def write_sbd(folder, train=("2008_000002", "2008_000004"), val=("2007_000003", "2008_000005")):
    """``benchmark_RELEASE/dataset``; the default lists share an image with each of VOC's."""
    for index, name in enumerate((*train, *val)):
        numbers, categories = sbd_maps()
        write_picture(folder / "img" / f"{name}.jpg", seed=10 + index)
        write_instances(folder / "inst" / f"{name}.mat", np.roll(numbers, index, 0), categories)
    for split, names in (("train", train), ("val", val)):
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return folder
