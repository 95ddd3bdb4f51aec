"""The Lua scripts of the queue protocol, and how elements travel to them."""

from __future__ import annotations

import re
from importlib import resources

_LUA = resources.files(__package__).joinpath("lua")
_COMMENT_OR_INDENT = re.compile(r"^[ ]*--.*\n|^[ ]+|[ ]+--[ ].*$", re.MULTILINE)
_NOT_JSON_TEXT = re.compile("[%\udc80-\udcff]")


def script(name: str) -> str:
    """A script that is given no elements, without its comments: it travels with every command."""
    return _COMMENT_OR_INDENT.sub("", _LUA.joinpath(f"{name}.lua").read_text(encoding="utf-8"))


def script_for_elements(name: str) -> str:
    """A script whose arguments are `escaped` elements."""
    return script("unescape") + script(name)


def escaped(element: str) -> str:
    """An element, read with surrogate escapes, as `unescape.lua` takes it: any bytes as JSON text."""
    return _NOT_JSON_TEXT.sub(lambda found: f"%{ord(found[0]) & 0xFF:02X}", element)
