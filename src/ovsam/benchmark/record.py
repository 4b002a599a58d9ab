"""A run of the benchmark: what was measured and what on, written as JSON and read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from ovsam.benchmark.machine import Machine
from ovsam.bounded_json import JsonError, read_json_file
from ovsam.errors import OvsamError, UsageError, quoted
from ovsam.formats.prediction import to_json_bytes

FORMAT: Literal["ovsam-benchmark-1"] = "ovsam-benchmark-1"
_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Numbers = Annotated[list[_Number], Field(min_length=1)]


@dataclass(frozen=True)
class Row:
    """A thing that was measured, once in each round.

    Attributes:
        name: what it is.
        unit: of the values.
        values: in the order of the rounds.
    """

    name: str
    unit: Literal["ms", "MB"]
    values: _Numbers

    @property
    def median(self) -> float:
        """Half of the values are smaller."""
        return float(np.median(self.values))

    @property
    def percentile90(self) -> float:
        """Nine of ten values are smaller."""
        return float(np.percentile(self.values, 90))


@dataclass(frozen=True)
class ModelRun:
    """What was measured of one model.

    Attributes:
        model: its name, or the path of its checkpoint.
        fingerprint: of its configuration and weights.
        engine: what computes it.
        rows: in the order of the table.
    """

    model: str
    fingerprint: str
    engine: str
    rows: list[Row]

    def row(self, name: str) -> Row | None:
        """The row of that name; None if there is none."""
        return next((row for row in self.rows if row.name == name), None)


@dataclass(frozen=True)
class Run:
    """What one `ovsam benchmark` measured.

    Attributes:
        format: tells the file from others.
        machine: that it ran on.
        versions: of what computes, by package.
        threads: that the models computed with.
        load_average: how many processes were at work before it; None if unknown.
        photo: which one.
        vocabularies: how many classes each has, by what rows call it.
        yardstick_ms: the times of a fixed piece of work, see `rounds.yardstick`.
        peak_bytes: the most memory that the process has held, with all models; None if unknown.
        models: side by side.
    """

    format: Literal["ovsam-benchmark-1"]
    machine: Machine
    versions: dict[str, str]
    threads: int
    load_average: float | None
    photo: str
    vocabularies: dict[str, int]
    yardstick_ms: _Numbers
    peak_bytes: int | None
    models: Annotated[list[ModelRun], Field(min_length=1)]

    @property
    def row_names(self) -> list[str]:
        """Of the rows of any model, each once."""
        return list(dict.fromkeys(row.name for one in self.models for row in one.rows))

    def to_json(self) -> bytes:
        """The content of a file for `read_run`."""
        return to_json_bytes(asdict(self))


def read_run(path: Path) -> Run:
    """A run that was written before.

    Raises:
        OvsamError: the file cannot be read, or is none of these.
    """
    try:
        content = read_json_file(path)
        if isinstance(content, dict) and content.get("format") != FORMAT:
            raise JsonError(f"its 'format' is not {FORMAT!r} but {quoted(content.get('format'))}")
        return TypeAdapter(Run).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
    except OSError as error:
        reason = error.strerror or str(error)
    except JsonError as error:
        reason = str(error)
    raise OvsamError(
        f"Cannot compare with {str(path)!r}: {reason}. Give a file that 'ovsam benchmark --json' "
        "has written."
    )


def counterparts(models: Sequence[str], earlier: Run) -> list[ModelRun | None]:
    """For each model the one of an earlier run that it is compared with: that of its name.

    Where both runs have one model alone, these are compared.

    Raises:
        UsageError: there is none for any.
    """
    if len(models) == len(earlier.models) == 1:
        return [earlier.models[0]]
    by_name = {one.model: one for one in earlier.models}
    found = [by_name.get(model) for model in models]
    if not any(found):
        raise UsageError(
            f"The run to compare with has {', '.join(by_name)}, and none of "
            f"{', '.join(dict.fromkeys(models))}. Give --model one of its models."
        )
    return found


def differences(now: Run, earlier: Run) -> list[str]:
    """In what two runs differ beside the times, a phrase each; equal runs give none."""
    found = []

    def compare(what: str, this: object, that: object) -> None:
        if this != that:
            found.append(f"{what}: {_shown(that)} then, {_shown(this)} now")

    compare("system", now.machine.system, earlier.machine.system)
    compare("processor", now.machine.processor, earlier.machine.processor)
    compare("cores", now.machine.cores, earlier.machine.cores)
    compare("instruction sets", now.machine.instruction_sets, earlier.machine.instruction_sets)
    compare("memory", _gigabytes(now.machine), _gigabytes(earlier.machine))
    compare("threads", now.threads, earlier.threads)
    for package in sorted({*now.versions, *earlier.versions}):
        compare(package, now.versions.get(package), earlier.versions.get(package))
    compare("photo", now.photo, earlier.photo)
    for name in now.vocabularies.keys() & earlier.vocabularies.keys():
        compare(f"classes of {name}", now.vocabularies[name], earlier.vocabularies[name])
    pairs = zip(now.models, counterparts([m.model for m in now.models], earlier), strict=True)
    for model, then in pairs:
        if then is not None:
            compare("model", model.model, then.model)
            compare(f"engine of {model.model}", model.engine, then.engine)
            if model.model == then.model and model.fingerprint != then.fingerprint:
                found.append(f"weights of {model.model}: others now than then")
    return found


def _gigabytes(machine: Machine) -> str | None:
    return None if machine.memory_bytes is None else f"{machine.memory_bytes / 1e9:.1f} GB"


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
