"""What can be measured, as options name it; light, so that the command line knows it at once."""

from __future__ import annotations

from typing import Literal

PromptKind = Literal["box", "noisy-box", "point", "random-point"]
"""How an object is pointed at, see `prompts`."""
EvaluationKind = Literal[PromptKind, "point-true-box"]
"""The same where names are measured, too."""
POINTS: frozenset[PromptKind] = frozenset({"point", "random-point"})
"""The kinds that need the annotated mask."""
LabelSource = Literal["detector", "ours"]
"""Whose names of a detector's boxes count."""
