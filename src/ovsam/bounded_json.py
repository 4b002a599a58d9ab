"""JSON that somebody else wrote: parsed within bounds, or one short reason why not."""

from __future__ import annotations

import json


class JsonError(ValueError):
    """The text is not JSON within the bounds; the message is a reason for a caller's sentence."""


def parse_json(text: str | bytes) -> object:
    """The content of a JSON text.

    Args:
        text: of any source; UTF-8 where it is bytes.

    Raises:
        JsonError: it is no JSON, is nested too deeply, or has a number of too many digits.
    """
    try:
        content: object = json.loads(text)
    except RecursionError:
        raise JsonError("it is nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits is one, too
        raise JsonError(str(error).partition("\n")[0].rstrip(".")) from None
    return content
