"""Hiding what must not be printed."""

from __future__ import annotations

import re

__all__ = ["MASK", "mask_url"]

MASK = "********"


def mask_url(url: str) -> str:
    """Return `url` with the password, if it has one, replaced; also tokens in its query."""
    masked = re.sub(r"(://[^:/?#@]*:)[^/?#]*@", rf"\1{MASK}@", url)
    return re.sub(r"(?i)([?&][^=&]*(?:token|password|secret|api_?key|auth)[^=&]*=)[^&#]*", rf"\1{MASK}", masked)
