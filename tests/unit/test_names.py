"""One word for one concept, and docstrings that begin with a verb or a noun."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

TREE = Path(__file__).parents[2] / "nettop"
MODULES = {str(path.relative_to(TREE)): ast.parse(path.read_text()) for path in TREE.rglob("*.py")}
QUESTIONS = ("What ", "Whether ", "Where ", "How ", "Who ", "When ", "Why ", "Which ")


def test_a_name_of_a_class_has_one_meaning() -> None:
    found = defaultdict(list)
    for path, module in MODULES.items():
        for node in module.body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path)
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_no_docstring_begins_like_a_question() -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [
        f"{path}: {text}"
        for path, module in MODULES.items()
        for node in ast.walk(module)
        if isinstance(node, documented) and (text := ast.get_docstring(node) or "").startswith(QUESTIONS)
    ]
    assert found == []
