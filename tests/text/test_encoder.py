"""The templates that names are embedded in."""

from __future__ import annotations

from dataclasses import replace

from ovsam.text.encoder import PLAIN_TEMPLATES, openai_templates, templates_of
from ovsam.vocabulary.vocabulary import Vocabulary


def test_templates_that_a_vocabulary_asks_for() -> None:
    plain = Vocabulary.from_names(["cat"])
    assert templates_of(plain, PLAIN_TEMPLATES) == PLAIN_TEMPLATES
    own = replace(plain, templates=("the {}", "{simple}"))
    found = templates_of(own, PLAIN_TEMPLATES)
    assert found[:2] == ("the {}", "itap of a {}.")
    assert len(found) == 1 + 7
    assert templates_of(replace(plain, templates=("{openai}",)), ("{}",)) == openai_templates()
