"""What the corpus's words mean: the sentence that stands under each in `schemas.vocabulary`."""

from __future__ import annotations

import ast
import inspect
import itertools
from enum import StrEnum
from functools import lru_cache

from schemas import vocabulary

__all__ = ["meanings"]


@lru_cache
def meanings(kind: type[StrEnum]) -> dict[str, str]:
    """Return the meaning of each word of a vocabulary; words without a sentence have none.

    >>> from schemas.vocabulary import LabelBasis
    >>> meanings(LabelBasis)["biopsy"]
    'Histology or surgery.'
    """
    tree = ast.parse(inspect.getsource(vocabulary))
    body = next(
        node.body
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    )
    found = {}
    for word, sentence in itertools.pairwise(body):
        match word, sentence:
            case (
                ast.Assign(value=ast.Constant(value=str(name))),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = " ".join(text.split())
    return found
