"""Names as captions write them: case, descriptions, several in one line. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

SMALL_WORDS = frozenset(
    ["of", "the", "and", "for", "in", "to", "a", "an", "or", "on", "with", "by", "at", "v.", "vs.", "from", "as", "re"]
)
_KEEP = frozenset(
    [
        *("LLC", "LLP", "LP", "PLLC", "USA", "US", "U.S.", "U.S.A.", "II", "III", "IV", "VI", "PC", "PA", "NA", "N.A."),
        *("FBI", "IRS", "EPA", "AFL-CIO", "FSB", "DBA", "MDL", "M.D.", "FKA", "AKA"),
    ]
)
#: What makes a part of a list of names belong to the name before it.
_SUFFIX = re.compile(
    r"^(?:Inc|LLC|L\.?L\.?C|LLP|L\.?L\.?P|L\.?P|Corp|Co|Ltd|P\.?C|P\.?A|N\.?A|PLLC|FSB|S\.?A|N\.?V|Jr|Sr|II|III|IV"
    r"|M\.?D|Ph\.?D|Esq|D\.?O|R\.?N)\b\.?",
    re.IGNORECASE,
)
_COMPANY = re.compile(
    r"\b(?:Inc|LLC|L\.L\.C|LLP|LP|L\.P|Corp|Corporation|Co|Company|Ltd|Limited|Bank|Trust|N\.A|Association|Services)\b",
    re.IGNORECASE,
)
#: A last word that has its full stop by right.
_ABBREVIATED = re.compile(
    r"\b(?:[A-Za-z]|Inc|Corp|Co|Cos|Coop|Ltd|Jr|Sr|Bros|Ass[’']?n|Dep[’']?t|Dist|Dev|Auth|Mfg|Esq|Cty|Univ|Ins|Sch|Bd"
    r"|Ry|Int[’']l|N\.A|L\.P|P\.C|P\.A|L\.L\.C|L\.L\.P|M\.D|Ph\.D|U\.S|U\.S\.A)\.$",
    re.IGNORECASE,
)
#: What follows a party's name and is no part of it, up to the next party.
_DESCRIPTION = re.compile(
    r"[,\s]+(?:"
    r"an? (?!and\b)[\w-]+ (?:(?!and\b)[\w-]+ ){0,5}?(?:corporation|company|partnership|association|person|entity|trust"
    r"|city|county|woman|man|individual|subdivision|resident|citizen|agency|body|bank)\b[^;]*?(?=;|, and | and [A-Z]|$)"
    r"|an? (?:individual|minor|person|corporation|partnership|trust)\b[^;]*?(?=;|, and | and [A-Z]|$)"
    r"|husband and wife\b|wife and husband\b|et\.? al\b\.?|et ux\b\.?|inclusive\b|deceased\b|and all others\b[^;]*"
    r"|(?:individually|solely|personally)\b[^;]*|jointly\b[^;]*|severally\b[^;]*"
    r"|in (?:his|her|their|its|the) (?:\w+ )*capacit(?:y|ies)\b[^;]*"
    r"|on behalf of\b[^;]*|by and through\b[^;]*|as (?:[\w-]+ ){0,4}(?:trustee|administrat|executor|personal|guardian"
    r"|successor|assignee|representative|receiver|next|parent)\w*\b[^;]*|(?:d/?b/?a|a/?k/?a|f/?k/?a|n/?k/?a)\b[^;]*"
    r"|survivor of\b[^;]*|(?:and )?(?:DOES|ROES)\b[^;]*|and (?:all )?unknown\b[^;]*|and nominal\b[^;]*"
    r")",
    re.IGNORECASE,
)
_NOT_A_NAME = re.compile(
    r"\b(?:case|docket|no|number|hearing|court|courtroom|dated?|filed|attorneys?|counsel|dept|judge|hon|telephone|page"
    r"|document|telefax|fax|email|trial|action|complaint|motion|order|exhibit|section|chapter|before|circuit|appeal"
    r"|opinion|syllabus|certiorari|clerk|esq|caption|see|cf|citing|supra|unknown|does|petition|answer|notice|versus"
    r"|vs?)\b|[@:=$%]|\d{3}|_",
    re.IGNORECASE,
)
_OFFICE = re.compile(
    r"^(?:Director|Commissioner|Secretary|Warden|Administrator|Superintendent|Sheriff)$", re.IGNORECASE
)


def title_case(text: str) -> str:
    """Capitals to title case, acronyms kept; other text as it is."""
    letters = [c for c in text if c.isalpha()]
    if not letters or sum(c.isupper() for c in letters) < 0.8 * len(letters):
        return text
    words: list[str] = []
    for position, word in enumerate(text.split()):
        bare = word.strip(",.;:()[]")
        if bare in _KEEP or word in _KEEP or re.fullmatch(r"\(?(?:(?:[A-Z]\.)+,?|[IVX]{1,4})[):;,.]*", word):
            words.append(word)
        elif bare.lower() in SMALL_WORDS and position and not words[-1].lower().startswith("exhibit"):
            words.append(word.lower())
        else:
            words.append(re.sub(r"\d*[A-Za-z][\w’']*", _capital, word))
    return " ".join(words)


def _capital(found: re.Match[str]) -> str:
    word = found[0]
    if word[0].isdigit():
        return word.lower()  # 11TH
    if re.match(r"MC[A-Z]{3}", word):
        return f"Mc{word[2]}{word[3:].lower()}"
    if re.match(r"[OD][’'][A-Z]{2}", word):
        return f"{word[:3]}{word[3:].lower()}"
    return word[0].upper() + word[1:].lower()


def is_capitals(text: str) -> bool:
    """Whether the words are in capitals, connecting words aside."""
    words = [word for word in re.findall(r"[A-Za-z’']{2,}", text) if word not in SMALL_WORDS]
    return bool(words) and sum(word.isupper() for word in words) >= 0.75 * len(words)


def is_name(text: str) -> bool:
    """Whether this could be a party's name: a few words that begin with capitals, and none that a caption adds."""
    words = text.split()
    letters = sum(c.isalpha() for c in text)
    if not words or len(words) > 12 or letters < 3 or _NOT_A_NAME.search(text) or not text[0].isalnum():
        return False
    return all(word[0].isupper() or word.lower().strip(",.") in SMALL_WORDS or not word[0].isalpha() for word in words)


def one_name(text: str) -> str:
    """A single name without what describes its bearer."""
    text = re.sub(r"[|)(\]\[§“”\"]+", " ", text)
    text = " ".join(text.split()).strip(" ,;:")
    text = _DESCRIPTION.split(" " + text, maxsplit=1)[0]
    text = re.sub(r"^(?:and|&)\s+", "", text.strip(" ,;:"), flags=re.IGNORECASE).strip(" ,;:")
    if text.endswith(".") and not _ABBREVIATED.search(text):
        text = text[:-1]
    return title_case(text)


def several_names(text: str, *, plural: bool) -> list[str]:
    """The names in one side of a caption; none where it cannot be told where one ends and the next begins.

    Args:
        text: the lines of that side, joined.
        plural: whether their role says that there are several.
    """
    text = _DESCRIPTION.sub(" ", " " + " ".join(text.split())).strip(" ,;:")
    if not plural:
        return _checked([_first_of(text.split(";")[0])])
    return _checked([name for part in text.split(";") for name in _of_list(part)])


def _checked(names: list[str]) -> list[str]:
    cleaned = [name for name in map(one_name, names) if name]
    known = [name for name in cleaned if not re.match(r"(?:unknown|does|roes|non-record)\b", name, re.IGNORECASE)]
    return known if known and all(map(is_name, known)) else []


def _first_of(text: str) -> str:
    """A name with its suffixes; what follows after a comma describes it, unless it is what an office is over."""
    parts = [part.strip() for part in text.split(",")]
    name = parts[0]
    for part in parts[1:]:
        if not (_SUFFIX.match(part) and len(part) < 12) and not _OFFICE.match(name):
            break
        name += f", {part}"
    return name


def _of_list(text: str) -> Iterator[str]:
    """The names in ``A, Inc., B and C``."""
    commas: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        if commas and ((_SUFFIX.match(part) and len(part.split(" and ")[0]) < 12) or _OFFICE.match(commas[-1])):
            commas[-1] += f", {part}"
        else:
            commas.append(part)
    for part in commas:
        yield from _apart(re.sub(r"^(?:and|AND|&)\s+", "", part))


def _apart(text: str) -> list[str]:
    """``A and B`` where these are two: capitals around small letters, a company's end before, or two short names."""
    sides = re.split(r"\s+(?:and|AND)\s+", text)
    if len(sides) == 1:
        return [text]
    typed_apart = " and " in text and is_capitals(text)
    companies = all(_COMPANY.search(side) for side in sides[:-1])
    persons = len(sides) == 2 and all(len(side.split()) in (2, 3, 4) and not _COMPANY.search(side) for side in sides)
    return sides if typed_apart or companies or persons else [text]
