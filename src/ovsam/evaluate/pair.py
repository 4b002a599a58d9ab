"""Two models that segment the same: a student and its teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ovsam.segmenter import Segmenter


@dataclass(frozen=True)
class Pair:
    """Two models that are given the same prompts; neither names anything.

    Attributes:
        student: one.
        teacher: the other.
    """

    student: Segmenter
    teacher: Segmenter

    @property
    def model_name(self) -> str:
        """Both names."""
        return f"{self.student.model_name} beside {self.teacher.model_name}"

    @property
    def fingerprint(self) -> str:
        """What tells two pairs of the same names apart."""
        return f"{self.student.fingerprint} {self.teacher.fingerprint}"

    @property
    def device(self) -> object:
        """Where the student computes."""
        return self.student.device

    @property
    def threads(self) -> int:
        """How many of a processor's threads both compute with."""
        return self.student.threads

    def use_threads(self, count: int) -> None:
        """Compute with so many of them from now on."""
        self.student.use_threads(count)
        self.teacher.use_threads(count)


def load_pair(student: Callable[[], Segmenter], teacher: Callable[[], Segmenter]) -> Pair:
    """Load both; for `Workers`, to whom a partial of this can be given."""
    return Pair(student(), teacher())
