"""Theme files: they are found, parsed and checked before anything is drawn. A bad file is reported and skipped."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nettop.errors import UsageError
from nettop.model.table import ROLES
from nettop.text.sanitize import clean

SURFACES = ("background", "bar", "cursor", "cursor_idle", "dialog", "border")
ROLE_NAMES = ("text", *ROLES[1:])  # a file says "text" for the plain role ""
DEFAULT = "dark"

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_MAX_BYTES = 64 << 10  # a theme is a page of text


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of surfaces (SURFACES) and of text roles (ROLE_NAMES), as `#rrggbb`."""

    name: str
    dark: bool
    surfaces: Mapping[str, str]
    roles: Mapping[str, str]


def _section(data: dict[str, Any], section: str, names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    found = data.get(section)
    if not isinstance(found, dict):
        return {}, [f"[{section}] is missing"]
    names = tuple(names)
    problems = [f"{section}.{clean(str(key))} is not known" for key in found if key not in names]
    colours: dict[str, str] = {}
    for name in names:
        colour = found.get(name)
        if colour is None:
            problems.append(f"{section}.{name} is missing")
        elif not isinstance(colour, str) or not _COLOUR.fullmatch(colour):
            problems.append(f"{section}.{name} is no colour like #1a2b3c")
        else:
            colours[name] = colour
    return colours, problems


def _head(data: dict[str, Any]) -> list[str]:
    problems = [f"{clean(str(key))} is not known" for key in data if key not in ("name", "dark", "surfaces", "roles")]
    name = data.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problems.append("name must be a word of letters, digits, - and _")
    if not isinstance(data.get("dark"), bool):
        problems.append("dark must be true or false")
    return problems


def parse(text: str) -> tuple[Theme | None, list[str]]:
    """Return the theme in a TOML text, or None and all problems."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return None, [clean(str(error))]
    problems = _head(data)
    surfaces, wrong_surfaces = _section(data, "surfaces", SURFACES)
    roles, wrong_roles = _section(data, "roles", ROLE_NAMES)
    problems += wrong_surfaces + wrong_roles
    if problems:
        return None, problems
    return Theme(data["name"], data["dark"], surfaces, roles), []


def shipped_dir() -> Path:
    """Return the directory of the included themes: in the wheel, otherwise in the source tree."""
    package = Path(__file__).resolve().parent.parent
    in_wheel = package / "_data" / "themes"
    return in_wheel if in_wheel.is_dir() else package.parent / "themes"


def user_dir() -> Path:
    """Return the directory of the user's themes: $XDG_CONFIG_HOME/nettop/themes, ~/.config by default."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(config) if config.startswith("/") else Path.home() / ".config") / "nettop" / "themes"


def _read(path: Path) -> tuple[Theme | None, list[str]]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None, ["larger than a theme can be"]
        return parse(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        return None, [clean(error.strerror or "cannot be read" if isinstance(error, OSError) else "is not UTF-8")]


def load(directories: Iterable[Path] | None = None) -> tuple[dict[str, Theme], str]:
    """Return all valid themes by name (later directories win), and one notice about all bad files, or ""."""
    themes: dict[str, Theme] = {}
    notices: list[str] = []
    for directory in (shipped_dir(), user_dir()) if directories is None else directories:
        for path in _files(directory):
            theme, problems = _read(path)
            if theme is not None:
                themes[theme.name] = theme
            else:
                notices.append(f"theme {clean(path.name)} skipped: {'; '.join(problems)}")
    return themes, "\n".join(notices)


def _files(directory: Path) -> list[Path]:
    try:
        return sorted(p for p in directory.iterdir() if p.suffix == ".toml" and p.is_file())
    except OSError:
        return []


def choose(themes: Mapping[str, Theme], name: str) -> Theme:
    """Return the theme of this name; "" is the default, or FALLBACK without any theme. Raise UsageError if unknown."""
    if theme := themes.get(name or DEFAULT):
        return theme
    if not name:
        return next(iter(themes.values()), FALLBACK)
    raise UsageError(f"no theme is called {clean(name)!r}", f"known are {', '.join(sorted(themes)) or 'none'}")


# Used if no theme file is found.
FALLBACK = Theme(
    "plain",
    True,
    {name: "#000000" for name in SURFACES} | {"cursor": "#333333", "cursor_idle": "#222222", "border": "#888888"},
    {name: "#ffffff" for name in ROLE_NAMES},
)
