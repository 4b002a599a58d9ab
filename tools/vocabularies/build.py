"""All steps, from the packages to the files."""

from __future__ import annotations

from pathlib import Path

from tools.vocabularies import sources
from tools.vocabularies.choices import read_choices
from tools.vocabularies.entry import Entry
from tools.vocabularies.imagenet import imagenet21k_entries, imagenet_files
from tools.vocabularies.lvis import lvis_entries, lvis_files
from tools.vocabularies.meanings import give_synsets, kinds_among, merged_synsets
from tools.vocabularies.objects365 import objects365_entries, objects365_files
from tools.vocabularies.prior import Ordinariness, sense_counts, weight_files
from tools.vocabularies.synsets import synset_files
from tools.vocabularies.text_file import TextFile
from tools.vocabularies.union import union_entries, union_files

SHIPPED = Path(__file__).parents[2] / "src" / "ovsam" / "vocabularies"


def shipped(name: str) -> TextFile:
    """A file as the package has it."""
    return TextFile.parse((SHIPPED / f"{name}.txt").read_text(encoding="utf-8"))


def build(packages: Path) -> dict[str, TextFile]:
    """The files by their names without `.txt`.

    Args:
        packages: the folder of the downloaded packages.

    Raises:
        PackageError: one is not there.
    """
    choices = read_choices()
    wordnet = sources.wordnet(packages)
    in_1k, in_21k = map(sources.imagenet_names, ("imagenet-1k", "imagenet-22k"))
    coco = [Entry(names) for names in shipped("coco").names()]
    lvis = lvis_entries(sources.lvis_categories(packages), wordnet)
    objects365 = objects365_entries(sources.objects365_names(packages), choices.objects365)
    imagenet1k = [
        Entry(names, synset)
        for names, synset in zip(shipped("imagenet1k").names(), in_1k, strict=True)
    ]
    imagenet21k = imagenet21k_entries(in_21k, imagenet1k, wordnet)

    give_synsets([*coco, *objects365], lvis, wordnet, choices.senses)
    merged = merged_synsets(choices.same_senses, wordnet)
    for entry in (*coco, *lvis, *objects365):
        entry.synset = merged.get(entry.synset or "", entry.synset)
    vocabularies = {
        "coco": coco,
        "lvis": lvis,
        "objects365": objects365,
        "imagenet1k": imagenet1k,
        "imagenet21k": imagenet21k,
    }
    people = choices.people.left_out
    elsewhere = {entry.synset for entry in (*coco, *lvis, *objects365, *imagenet1k)}
    left_out = kinds_among(in_21k, people, wordnet) - elsewhere
    united = [entry for entry in imagenet21k if entry.synset not in left_out]
    union = union_entries(vocabularies | {"imagenet21k": united}, merged, choices.names, wordnet)
    ordinariness = Ordinariness(vocabularies, sense_counts(wordnet.counts, merged), choices.prior)
    return {
        **lvis_files(lvis),
        **objects365_files(objects365, choices.objects365),
        **imagenet_files(imagenet21k),
        **union_files(union, vocabularies, len(left_out)),
        **synset_files(union, vocabularies, people, wordnet),
        **weight_files(union, imagenet21k, merged, ordinariness),
    }
