"""Signs of a terminal without them: as many columns, and a sign of its own for each that nettop draws."""

from __future__ import annotations

import io
from pathlib import Path

import nettop
from nettop.text.signs import without_escapes


def written(text: str, encoding: str = "ascii") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace")
    without_escapes(stream)
    stream.write(text)
    stream.flush()
    return raw.getvalue().decode(encoding)


def test_what_nettop_draws_has_a_sign_for_each_column() -> None:
    text = "".join(path.read_text() for path in Path(nettop.__file__).parent.rglob("*.py"))
    drawn = "".join(sorted(set(text) - set(map(chr, range(128)))))
    assert len(drawn) > 40
    signs = written(drawn)
    assert "?" not in signs and len(signs) == len(drawn), (drawn, signs)


def test_letters_lose_their_accents_and_wide_ones_keep_their_columns() -> None:
    assert written("café e\u0301 漢字 ж") == "cafe e ???? ?"


def test_a_utf_8_terminal_gets_what_it_can_show() -> None:
    assert written("▶ 漢字 é", "utf-8") == "▶ 漢字 é"


def test_another_character_set_gets_its_own_letters() -> None:
    assert written("é ▶", "latin-1") == "é >"
