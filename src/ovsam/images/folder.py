"""Where the photos of a data set lie: what a folder holds, and which file a name stands for.

A name is written on one system and read on another: with back slashes, with letters composed (é) or
decomposed (e and an accent), escaped for an address (`%20`), with another case or suffix.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from ovsam.images.read import PHOTO_SUFFIXES

# What systems and programs leave between the files of a folder; compared in lower case.
_SYSTEM = frozenset(
    "__macosx,thumbs.db,ehthumbs.db,desktop.ini,$recycle.bin,system volume information,"
    "lost+found,@eadir,@recycle,@recently-snapshot,#recycle,#snapshot,__pycache__,icon\r".split(",")
)
_MAY_LEAVE = re.compile(r"\.\.|^[\\/]|[:%]")  # nearly no name has any of these
_LEAVES = re.compile(r"(?:^|[\\/])\.\.(?:[\\/]|$)|^[\\/]|^[A-Za-z]:[\\/]")


def is_system_entry(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or a system's own: nobody's data.

    >>> [is_system_entry(name) for name in ("._a.jpg", "__MACOSX", "Thumbs.db", "a.jpg")]
    [True, True, True, False]
    """
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM


def is_photo_name(name: str) -> bool:
    """Whether a file of this name is a photo by its suffix, and no system's own."""
    return PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES and not is_system_entry(name)


def leaves_folder(file_name: str) -> bool:
    """Whether a path, however it is written or escaped, leads out of the folder it belongs to.

    >>> [leaves_folder(name) for name in ("a/b.jpg", "/b.jpg", "a/../../b.jpg", "%2e%2e/b.jpg")]
    [False, True, True, True]
    """
    if not _MAY_LEAVE.search(file_name):
        return False
    drive = os.path.splitdrive(file_name)[0]
    return bool(drive or _LEAVES.search(file_name) or _LEAVES.search(unquote(file_name)))


def name_key(name: str) -> str:
    """What is the same for all ways of writing one name.

    >>> name_key("IMG%201.JPG") == name_key("img 1.jpg")
    True
    """
    return _folded(_plain(name))


class PhotoFolder:
    """A folder that photos are looked up in by name.

    A name that is there as it is written is found at once. Only where it is not, the folder is
    listed, once.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[Path, _Names] = {}

    def find(self, file_name: str) -> Path | None:
        """The photo's file; None where there is none, several could be meant, or it is elsewhere.

        Leading folders that this copy does not have are left out (LVIS's train2017/, Objects365's
        images/v1/). The suffix may be that of another kind of photo where one file has the stem.

        Args:
            file_name: as the data set writes it, with the folders that it gives.
        """
        if leaves_folder(file_name):
            return None
        if os.path.isfile(os.path.join(self.root, file_name)):
            return self.root / file_name
        parts = PurePosixPath(_plain(file_name)).parts
        for start in range(len(parts)):
            folder = self._folder(parts[start:-1])
            if folder is not None:
                found = self._in(folder).find(parts[-1])
                if found is not None:
                    return found
                break
        # An archive of Windows, unpacked by a program that takes the folders for parts of the name.
        whole = ("/".join(parts[start:]) for start in range(len(parts) - 1))
        return next((hit for name in whole if (hit := self._in(self.root).find(name))), None)

    def _folder(self, names: tuple[str, ...]) -> Path | None:
        folder = self.root
        for name in names:
            inner = folder / name
            if not os.path.isdir(inner):
                found = self._in(folder).folders.get(_folded(name), [])
                if len(found) != 1:
                    return None
                inner = folder / found[0]
            folder = inner
        return folder

    def _in(self, folder: Path) -> _Names:
        if folder not in self._names:
            self._names[folder] = _Names(folder)
        return self._names[folder]


class _Names:
    """What a folder holds, by `name_key`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, list[str]] = {}
        self.stems: dict[str, list[str]] = {}
        self.folders: dict[str, list[str]] = {}
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:  # such as: there is no such folder
            entries = []
        for entry in entries:
            if is_system_entry(entry.name):
                continue
            key = name_key(entry.name)
            if entry.is_dir():
                self.folders.setdefault(key, []).append(entry.name)
            else:
                self.files.setdefault(key, []).append(entry.name)
                if is_photo_name(entry.name):
                    self.stems.setdefault(_stem(key), []).append(entry.name)

    def find(self, name: str) -> Path | None:
        """The file of a name that is not escaped; where several differ in case, the one of its."""
        key = _folded(name)
        for names in (self.files.get(key, []), self.stems.get(_stem(key), [])):
            if len(names) > 1:
                names = [one for one in names if _composed(_plain(one)) == _composed(name)]
            if len(names) == 1:
                return self.folder / names[0]
            if names:
                return None
        return None


def by_key(paths: Iterable[Path]) -> dict[str, Path]:
    """Paths by the key of their stems; of several with one key the first."""
    found: dict[str, Path] = {}
    for path in paths:
        found.setdefault(name_key(path.stem), path)
    return found


def _plain(name: str) -> str:
    return unquote(name.replace("\\", "/"))


def _folded(plain: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", plain).casefold())


def _stem(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return stem if f".{suffix.lower()}" in PHOTO_SUFFIXES and stem else name


def _composed(plain: str) -> str:
    return unicodedata.normalize("NFC", _stem(plain))
