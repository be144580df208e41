"""Words of a text, for BM25 and highlights: full width, case and punctuation do not matter.

`words` cuts as a search engine does (rjieba's search mode: 糖尿病 gives 糖尿 and 糖尿病 as well);
`bigrams` takes every two neighbouring Chinese characters and needs no dictionary and no extra.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, TypeAlias, get_args

from corom.checks import require_one_of
from corom.extras import need
from corom.text import clean

Cut: TypeAlias = Literal["words", "bigrams"]

_HAN = r"\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = re.compile(rf"([{_HAN}]+)|[^\W_{_HAN}]+")


def folded(text: str) -> str:
    """Return `text` in NFKC and lower case: what two spellings of one word have in common."""
    return unicodedata.normalize("NFKC", clean(text)).lower()


def segment(text: str, *, cut: Cut = "words") -> list[str]:
    """Return the words of `text` in order, folded; punctuation and white space are left out.

    `words` needs the extra `lexical` (about 30,000 passages a second here). Numbers keep their
    point and their sign of percentage (0.5g, 7.5%). `bigrams` gives a single Chinese character
    as it is and other words (letters, digits) whole.
    """
    require_one_of("cut", cut, get_args(Cut))
    if cut == "bigrams":
        return _bigrams(folded(text))
    found = need("rjieba", extra="lexical").cut_for_search(folded(text))
    return [word for word in found if word.isalnum() or any(map(str.isalnum, word))]


def _bigrams(text: str) -> list[str]:
    found: list[str] = []
    for run in _RUN.finditer(text):
        han = run[1]
        if han is None or len(han) == 1:
            found.append(run[0])
        else:
            found += (han[i : i + 2] for i in range(len(han) - 1))
    return found
