"""Data sets in the layouts their owners ship, listed without trust: what is wrong is reported.

| layout | what a path to it looks like |
| --- | --- |
| COCO, LVIS, Objects365, V3Det, one's own | an annotation file (`.json`) and a folder of photos |
| LabelMe | a folder with JSON files beside photos, or of such folders |
| YOLO | a `data.yaml` or its folder, or a folder of photos below it (`images/val`) |
| SA-1B | a folder with JSON files beside photos, or of such folders (`train.txt`, `val.txt`), or |
| | one of these lists (`.txt`) |
| masks | `images/` and `masks/`, pictures of the same stems: one mask each, or label maps |
| ImageNet | a folder for each class, or a tar file for each; `words.txt` names them |

Listing opens no photo, but of YOLO and LabelMe those whose size is not written, and of SA-1B and
masks no annotation: these are read with each photo. Hidden files and those that systems leave are
no part of a data set; what is left out is counted.
"""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from ovsam.errors import AnnotationError, OvsamError, PhotoError
from ovsam.formats.coco import (
    Annotations,
    Category,
    Instance,
    Photo,
    collect_annotations,
    named_category,
    parse_sa1b,
    read_annotations,
    read_json,
)
from ovsam.formats.crowds import Crowds
from ovsam.formats.label_map import map_objects
from ovsam.formats.labelme import (
    LabelMeFile,
    labelme_objects,
    photo_source,
    read_labelme,
)
from ovsam.formats.skipped import Skipped
from ovsam.formats.yolo import find_yolo, is_yolo, labels_folder, yolo_objects
from ovsam.images.folder import (
    PhotoFolder,
    by_key,
    is_photo_name,
    is_system_entry,
    leaves_folder,
    name_key,
)
from ovsam.images.read import read_label_map, read_photo_size
from ovsam.vocabulary.class_lists import YAML_SUFFIXES, holds_labelme, labelme_files

Split = Literal["train", "val"]
"""Which part of a `data.yaml` a command takes."""

Report = Callable[[OvsamError], None]

_LOSSY = (".jpg", ".jpeg", ".jfif", ".jpe")
# What other layouts call folders of photos, which are none of classes.
_PARTS = frozenset(
    "train,val,valid,validation,test,trainval,image,images,img,imgs,photo,photos,mask,masks,data,"
    "jpegimages,segmentationclass,segmentationobject,visualization,obj_train_data".split(",")
)


@dataclass(frozen=True, eq=False, slots=True)
class ListedPhoto:
    """A photo as its data set lists it.

    Attributes:
        path: the photo's file, or the tar file that holds it.
        member: its name within the tar file.
        span: where its bytes begin in the tar file, and how many they are.
        size_hw: what the annotations say of its size, or None.
        instances: its objects; without `category` where they have no names.
        label: the name of the whole photo, or None.
        negative_classes: names of classes known to be absent; None where the data set does not
            say, see `coco.Photo`.
        not_exhaustive_classes: names of classes of which not every object is marked.
        problems: a sentence for each thing wrong with its annotations; that part is left out.
        notes: what was done to its annotations, in words that are the same for all photos.
    """

    path: Path
    member: str | None = None
    span: tuple[int, int] = (0, 0)
    size_hw: tuple[int, int] | None = None
    instances: tuple[Instance, ...] = ()
    label: str | None = None
    negative_classes: tuple[str, ...] | None = None
    not_exhaustive_classes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What to call it in messages: its file, and its place within a tar file."""
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"

    @property
    def skipped(self) -> list[Skipped]:
        """What is wrong with its annotations; if none can be used, with the photo."""
        return [Skipped(self.name, why, bool(self.instances)) for why in self.problems]

    def check_size(self, size_hw: tuple[int, int]) -> None:
        """Refuse pixels of another size than the annotations say.

        Raises:
            AnnotationError: says both.
        """
        if self.size_hw not in (None, size_hw):
            raise AnnotationError(
                f"Photo {self.name!r} is {size_hw[1]} x {size_hw[0]} pixels, its annotations say "
                f"{self.size_hw[1]} x {self.size_hw[0]}."
            )

    def open(self) -> Path | bytes:
        """What `read_photo` wants.

        Raises:
            PhotoError: the tar file cannot be read, or LabelMe's file holds no photo.
        """
        if self.member is None:
            return photo_source(self.path)
        start, length = self.span
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(length)
        except OSError as error:
            raise PhotoError(
                f"'{self.member}' of '{self.path}' cannot be read: {error}. Copy it again."
            ) from error


@dataclass(frozen=True, eq=False)
class Photos:
    """Photos in order; `photos[i]` reads what is marked on one, and never raises for what it reads.

    Attributes:
        listed: what is known of each without opening a file of its own.
        read: adds the rest.
    """

    listed: Sequence[ListedPhoto]
    read: Callable[[ListedPhoto], ListedPhoto]

    @property
    def whole(self) -> bool:
        """Whether all is known as it is listed, and no photo has a file of annotations."""
        return self.read is _as_listed

    def __len__(self) -> int:
        return len(self.listed)

    def __getitem__(self, index: int) -> ListedPhoto:
        return self.read(self.listed[index])

    def __iter__(self) -> Iterator[ListedPhoto]:
        return map(self.read, self.listed)


@dataclass(frozen=True, eq=False)
class Listing:
    """A data set.

    Attributes:
        layout: what its layout is called.
        categories: its classes, in the data set's order; empty where objects have no names.
        crowds: crowd regions, which are left out.
        photos: each with its objects, read as it is asked for.
        headings: categories that are no classes, see `class_lists.heading_ids`.
        ignored: what is no part of the data set, by what it is.
    """

    layout: str
    categories: tuple[Category, ...]
    crowds: int
    photos: Photos
    headings: tuple[str, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)


def list_photos(
    path: Path, images: Path | None, report: Report, split: Split | None = None
) -> Listing:
    """List the data set at `path`; what is wrong is handed to `report` and left out.

    What is wrong with files that are read later comes with their photo, as its `problems`.

    Args:
        path: an annotation file, a list of folders or a folder, see the module.
        images: the photos of an annotation file or of LabelMe's; None = beside it.
        report: called with each thing that is wrong.
        split: the part of a `data.yaml`, where it lists several; None = all of them.

    Raises:
        AnnotationError: there is no such path, or its layout is none of those known.
    """
    suffix = path.suffix.lower()
    if path.is_file() and suffix == ".txt":
        return _sa1b(_named_folders(path), report)
    if path.is_file() and suffix in YAML_SUFFIXES:
        return _yolo(path, split, report)
    if path.is_file():
        return _coco(path, images or path.parent, report)
    if not path.is_dir():
        raise AnnotationError(f"There is no data set at '{path}'. Check the path.")
    if (path / "images").is_dir() and (path / "masks").is_dir():
        return _masks(path, report)
    if is_yolo(path):
        return _yolo(path, split, report)
    if holds_labelme(path):
        return _labelme(path, images, report)
    named = _sa1b_folders(path)
    if named:
        return _sa1b(named, report)
    classes = [p for p in _entries(path) if p.suffix.lower() == ".tar" or _holds_photos(p)]
    if not all(_is_part(item.name) for item in classes):
        return _classes(path, classes, report)
    files = [file for pattern in ("*.json", "*/*.json") for file in sorted(path.glob(pattern))]
    named = [file for file in files if not any(map(is_system_entry, file.parts[-2:]))]
    such = f", such as '{named[0]}'" if named else ""
    raise AnnotationError(
        f"'{path}' has none of the known layouts: expected an annotation file in COCO's format, a "
        "data.yaml (YOLO), JSON files beside photos (LabelMe, SA-1B), images/ and masks/, or a "
        f"folder or tar file for each class (ImageNet). Give the path of one of these{such}."
    )


def read_annotated(
    path: Path, images: Path | None, crowds: Crowds = "left-out"
) -> tuple[Annotations, Path]:
    """Photos with named masks, in any layout that has such, and the folder that they lie in.

    Of a `data.yaml` with several parts, `val`.

    Args:
        path: as for `list_photos`.
        images: the same.
        crowds: what COCO's crowd regions are.

    Raises:
        AnnotationError: there is no such data set, something in it is wrong, or its objects have no
            names or no masks.
    """
    if not path.is_dir() and path.suffix.lower() not in (".txt", *YAML_SUFFIXES):
        return read_annotations(path, crowds), images or path.parent
    listing = list_photos(path, images, _refuse, "val")
    if not listing.categories or any(photo.label is not None for photo in listing.photos.listed):
        lacks = "masks" if listing.categories else "names"
        raise AnnotationError(
            f"The objects of '{path}' ({listing.layout}) have no {lacks}: give a data set that has "
            "masks with names (COCO, LabelMe, YOLO), or compare masks with 'ovsam compare'."
        )
    found = list(listing.photos)
    for photo in found:
        for problem in photo.problems:
            _refuse(AnnotationError(problem))
    places = [photo.path.absolute() for photo in found]
    root = Path(os.path.commonpath([place.parent for place in places] or [path]))
    photos = [
        Photo(number, place.relative_to(root).as_posix(), photo.size_hw or (1, 1))
        for number, (place, photo) in enumerate(zip(places, found, strict=True), start=1)
    ]
    instances = [
        replace(instance, photo_id=photo.id)
        for photo, listed in zip(photos, found, strict=True)
        for instance in listed.instances
    ]
    annotations = Annotations(
        photos=tuple(photos),
        instances=tuple(instances),
        categories=listing.categories,
        category_ids=tuple(range(1, len(listing.categories) + 1)),
        source=str(path),
        ignored=listing.ignored,
    )
    return annotations, root


def _refuse(error: OvsamError) -> None:
    raise AnnotationError(
        f"{error} Correct it or take it out; 'ovsam data check' lists all that is wrong."
    ) from error


UNLISTED = "photos without a JSON file, not annotated"
_SYSTEM = "hidden files and folders, and those of a system"


def _entries(folder: Path, ignored: Counter[str] | None = None) -> list[Path]:
    """What is in a folder, sorted, but for a system's own entries, which are counted."""
    kept = []
    for path in sorted(folder.iterdir()):
        if not is_system_entry(path.name):
            kept.append(path)
        elif ignored is not None:
            ignored[_SYSTEM] += 1
    return kept


def _ignore(paths: Iterable[Path], ignored: Counter[str]) -> None:
    for path in paths:
        if path.is_dir():
            ignored["folders that are no part of the layout"] += 1
        else:
            ignored[f"files that are no photos ({path.suffix.lower() or 'no suffix'})"] += 1


def _as_listed(photo: ListedPhoto) -> ListedPhoto:
    return photo


def _coco(path: Path, images: Path, report: Report) -> Listing:
    content = collect_annotations(read_json(path), str(path), report)
    folder = PhotoFolder(images)
    photos = tuple(
        ListedPhoto(
            path=folder.find(photo.file_name) or images / photo.file_name,
            size_hw=photo.size_hw,
            instances=content.by_photo.get(photo.id, ()),
            negative_classes=photo.negative_classes,
            not_exhaustive_classes=photo.not_exhaustive_classes,
        )
        for photo in content.photos
    )
    return Listing(
        "COCO", content.categories, content.crowds, Photos(photos, _as_listed), content.headings
    )


def _sized(path: Path, size_hw: tuple[int, int] | None = None) -> ListedPhoto:
    """A photo whose size is needed to read its annotations; without objects yet."""
    try:
        return ListedPhoto(path, size_hw=size_hw or read_photo_size(photo_source(path)))
    except PhotoError as error:
        return ListedPhoto(path, problems=(str(error),))


def _numbered(objects: Sequence[Instance], first: int) -> tuple[Instance, ...]:
    """Objects of LabelMe or YOLO, numbered through the data set."""
    return tuple(replace(one, id=number) for number, one in enumerate(objects, start=first))


def _labelme(root: Path, images: Path | None, report: Report) -> Listing:
    ignored: Counter[str] = Counter()
    folders: dict[Path, PhotoFolder] = {}
    photos: list[ListedPhoto] = []
    count = 1
    for path in labelme_files(root):
        try:
            file = read_labelme(path)
        except AnnotationError as error:
            report(error)
            continue
        photo = _sized(_labelme_photo(path, file, root, images, folders), file.size_hw)
        if photo.size_hw is not None:
            objects = labelme_objects(file, photo.size_hw, report, ignored)
            instances = _numbered(objects, count)
            count += len(instances)
            photo = replace(photo, instances=instances)
        photos.append(photo)
    names = sorted({one.category for photo in photos for one in photo.instances})
    listed = {photo.path for photo in photos}
    for place, inner, files in os.walk(root):
        kept = [name for name in inner if not is_system_entry(name)]
        ignored[_SYSTEM] += len(inner) - len(kept) + sum(map(is_system_entry, files))
        inner[:] = kept
        for name in files:
            if is_photo_name(name) and Path(place, name) not in listed:
                ignored[UNLISTED] += 1
            elif not is_photo_name(name) and not name.lower().endswith(".json"):
                _ignore([Path(place, name)] if not is_system_entry(name) else [], ignored)
    categories = _categories(names, str(root), report)
    return Listing("LabelMe", categories, 0, Photos(photos, _as_listed), ignored=+ignored)


def _categories(names: Iterable[str], source: str, report: Report) -> tuple[Category, ...]:
    found = []
    for name in names:
        try:
            found.append(named_category(name, [name], f"The class {name!r} of {source!r}"))
        except AnnotationError as error:
            report(error)
    return tuple(found)


def _labelme_photo(
    path: Path,
    file: LabelMeFile,
    root: Path,
    images: Path | None,
    folders: dict[Path, PhotoFolder],
) -> Path:
    """The photo of a LabelMe file: where the file says, beside it, or within it."""

    def find(folder: Path, name: str) -> Path | None:
        if folder not in folders:
            folders[folder] = PhotoFolder(folder)
        return folders[folder].find(name)

    named = file.image_path.replace("\\", "/")
    last = PurePosixPath(named).name
    last = f"{path.stem}.jpg" if not last or leaves_folder(last) else last
    inside = last if leaves_folder(named) else named
    # A path that leads out of the file's folder may lead to another of the data set.
    elsewhere = os.path.normpath(Path(os.path.relpath(path.parent, root), named)).replace("\\", "/")
    found = (
        (find(images, inside) if images is not None else None)
        or find(path.parent, inside)
        or find(root, elsewhere)
        or find(path.parent, f"{path.stem}.jpg")
    )
    return found or (path if file.embedded else path.parent / last)


def _yolo(path: Path, split: Split | None, report: Report) -> Listing:
    found = find_yolo(path, split, report)
    ignored: Counter[str] = Counter()
    photos: list[ListedPhoto] = []
    labels: dict[Path, Path] = {}
    used: set[Path] = set()
    count = 1
    for place in found.photos:
        if place.parent not in labels:
            labels[place.parent] = labels_folder(place.parent)
        file = labels[place.parent] / f"{place.stem}.txt"
        photo = _sized(place)
        used.add(file)
        if not os.path.isfile(file):
            ignored["photos without a label file: nothing is marked on them"] += 1
        elif photo.size_hw is not None:
            objects = yolo_objects(file, photo.size_hw, found, report)
            instances = _numbered(objects, count)
            count += len(instances)
            photo = replace(photo, instances=instances)
        photos.append(photo)
    for folder in dict.fromkeys(labels.values()):
        for entry in _entries(folder, ignored):
            if entry.suffix.lower() == ".txt" and entry not in used and entry.name != "classes.txt":
                ignored["label files without a photo that is listed"] += 1
    names = dict.fromkeys(found.names[number] for number in sorted(found.names))
    categories = _categories(names, str(path), report)
    layout = ", ".join(("YOLO", *found.splits))
    return Listing(layout, categories, 0, Photos(photos, _as_listed), ignored=ignored)


def _sa1b_folders(path: Path) -> list[Path]:
    named: list[Path] = []
    for part in ("train.txt", "val.txt"):
        if (path / part).is_file():
            named += _named_folders(path / part)
    if named:
        return list(dict.fromkeys(named))
    files = [entry for entry in _entries(path) if entry.suffix.lower() == ".json"]
    folder = PhotoFolder(path)
    return [path] if any(folder.find(f"{file.stem}.jpg") for file in files) else []


def _named_folders(file: Path) -> list[Path]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(
            f"The list of folders '{file}' cannot be read: {error}. Save it as UTF-8 text."
        ) from error
    # One folder on each line, whose name may have blanks, or several between blanks.
    named = [line.strip() for line in lines]
    if any(is_photo_name(line) and not os.path.isdir(file.parent / line) for line in named):
        raise AnnotationError(
            f"'{file}' lists photos, as YOLO's lists do, and no folders of SA-1B. Give a data.yaml "
            f"with 'names' and '{file.stem}: {file.name}' beside it."
        )
    several = ([line] if os.path.isdir(file.parent / line) else line.split() for line in named)
    return [file.parent / name for names in several for name in names if name]


def _sa1b(folders: list[Path], report: Report) -> Listing:
    photos: list[ListedPhoto] = []
    ignored: Counter[str] = Counter()
    for folder in folders:
        try:
            entries = _entries(folder, ignored)
        except (OSError, ValueError):  # a name that is none, such as one with a null byte
            entries = []
        files = [entry for entry in entries if entry.suffix.lower() == ".json"]
        if not files:
            report(AnnotationError(f"The listed folder '{folder}' is missing or has no JSON file."))
        place = PhotoFolder(folder)
        found = [place.find(f"{file.stem}.jpg") or file.with_suffix(".jpg") for file in files]
        photos += map(ListedPhoto, found)
        rest = [entry for entry in entries if entry not in {*files, *found}]
        ignored[UNLISTED] += sum(is_photo_name(entry.name) for entry in rest)
        _ignore((entry for entry in rest if not is_photo_name(entry.name)), ignored)
    return Listing("SA-1B", (), 0, Photos(photos, _with_regions), ignored=+ignored)


def _with_regions(photo: ListedPhoto) -> ListedPhoto:
    file = photo.path.with_suffix(".json")
    if not os.path.isfile(file):  # .JSON, or a name whose letters are composed otherwise
        beside = (entry for entry in _entries(photo.path.parent) if entry.suffix.lower() == ".json")
        file = by_key(beside).get(name_key(photo.path.stem), file)
    problems: list[str] = []
    try:
        size_hw, instances = parse_sa1b(
            read_json(file), str(file), lambda error: problems.append(str(error))
        )
    except AnnotationError as error:
        return replace(photo, problems=(str(error),))
    return replace(photo, size_hw=size_hw, instances=instances, problems=tuple(problems))


def _masks(root: Path, report: Report) -> Listing:
    ignored: Counter[str] = Counter()
    entries = _entries(root / "masks", ignored)
    # Of several masks of a stem, the PNG file.
    masks = sorted(filter(_is_photo, entries), key=lambda path: path.suffix.lower() != ".png")
    files: dict[str, Path] = {}
    for path in masks:
        if files.setdefault(path.stem, path) is not path:
            report(
                AnnotationError(f"Mask '{path}' is a second one beside '{files[path.stem].name}'.")
            )
    alike = by_key(files.values())
    photos = []
    beside = {}
    inside = _entries(root / "images", ignored)
    for path in filter(_is_photo, inside):
        mask = files.get(path.stem) or alike.get(name_key(path.stem))
        if mask is None or files.pop(mask.stem, None) is None:
            its = f"{path.stem}.png"
            report(AnnotationError(f"Photo {str(path)!r} has no mask {its!r} in masks/."))
        else:
            photos.append(ListedPhoto(path))
            beside[path] = mask
    for file in files.values():
        report(AnnotationError(f"Mask '{file}' has no photo of its stem in images/."))
    _ignore((entry for entry in [*inside, *entries] if not _is_photo(entry)), ignored)
    read = partial(_with_mask, masks=beside)
    return Listing("photos with mask files", (), 0, Photos(photos, read), ignored=ignored)


def _with_mask(photo: ListedPhoto, masks: Mapping[Path, Path]) -> ListedPhoto:
    file = masks[photo.path]
    try:
        numbers = read_label_map(file)
        try:
            found = map_objects(numbers)
        except AnnotationError as error:
            raise AnnotationError(f"Mask '{file}' cannot be used: {error}") from error
        if len(found.objects) > 1 and file.suffix.lower() in _LOSSY:
            raise AnnotationError(
                f"Mask '{file}' cannot be used: it has {len(found.objects):,} numbers, and JPEG "
                "changes numbers. Keep label maps as PNG; a mask must be black and white."
            )
        if not found.objects and (size_hw := read_photo_size(photo.path)) != numbers.shape:
            raise AnnotationError(  # with objects, whoever uses them says so
                f"Mask '{file}' is {numbers.shape[1]} x {numbers.shape[0]} pixels and blank, its "
                f"photo is {size_hw[1]} x {size_hw[0]}."
            )
    except (PhotoError, AnnotationError) as error:
        return replace(photo, problems=(str(error),))
    instances = tuple(
        Instance(one.number, 0, "", one.box_xyxy, float(one.area), one.rle) for one in found.objects
    )
    size_hw = numbers.shape[0], numbers.shape[1]
    return replace(photo, size_hw=size_hw, instances=instances, notes=found.notes)


def _is_part(name: str) -> bool:
    """Whether a folder of this name holds a part of a data set, and not a class: train2017."""
    return name.lower().rstrip("0123456789_-") in _PARTS


def _is_photo(path: Path) -> bool:
    return is_photo_name(path.name)


def _holds_photos(path: Path) -> bool:
    return path.is_dir() and any(is_photo_name(name) for name in os.listdir(path))


def _classes(root: Path, classes: list[Path], report: Report) -> Listing:
    words = _words(root / "words.txt", report)
    ignored: Counter[str] = Counter()
    used = {*classes, root / "words.txt"}
    _ignore((entry for entry in _entries(root, ignored) if entry not in used), ignored)
    categories, photos = [], []
    for item in classes:
        name = item.name if item.is_dir() else item.stem
        texts = words[name].split(",") if name in words else [name]
        try:
            categories.append(named_category(name, texts, f"The class '{item}'"))
        except AnnotationError as error:
            report(error)
            continue
        if item.is_dir():
            entries = _entries(item, ignored)
            photos += [ListedPhoto(path, label=name) for path in filter(_is_photo, entries)]
            _ignore((path for path in entries if not _is_photo(path)), ignored)
        else:
            photos += _members(item, report, ignored)
    return Listing("classes", tuple(categories), 0, Photos(photos, _as_listed), ignored=ignored)


def _words(file: Path, report: Report) -> Mapping[str, str]:
    """ImageNet's list of what its numbers mean: `n02084071<tab>dog, domestic dog`."""
    if not file.is_file():
        return {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        report(AnnotationError(f"The names of the classes in '{file}' cannot be read: {error}."))
        return {}
    return {parts[0]: parts[1] for line in lines if len(parts := line.split(maxsplit=1)) == 2}


def _members(item: Path, report: Report, ignored: Counter[str]) -> list[ListedPhoto]:
    try:
        with tarfile.open(item, "r:") as archive:  # not compressed: members are read in place
            members = [member for member in archive.getmembers() if member.isfile()]
    except (OSError, tarfile.TarError) as error:
        report(AnnotationError(f"'{item}' is not a whole, plain tar file: {error}."))
        return []
    photos = []
    for member in members:
        path = PurePosixPath(member.name)
        if any(part != "." and is_system_entry(part) for part in path.parts):
            ignored[_SYSTEM] += 1
        elif not is_photo_name(path.name):
            ignored[f"files that are no photos ({path.suffix.lower() or 'no suffix'})"] += 1
        else:
            span = member.offset_data, member.size
            photos.append(ListedPhoto(item, member=member.name, span=span, label=item.stem))
    return photos
