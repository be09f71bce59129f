"""Courts, parties and titles in the caption of a filing. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aseagi_tasks.analysis.layout import Piece
from aseagi_tasks.analysis.schema import Fact, Party

ROLES = (
    *("plaintiff", "defendant", "petitioner", "respondent", "appellant", "appellee", "claimant", "debtor", "creditor"),
    *("intervenor", "movant", "cross-complainant", "cross-defendant"),
)
_ROLE = re.compile(rf"\b({'|'.join(ROLES)})s?\b", re.IGNORECASE)
_VERSUS = re.compile(r"^\W*(?:v|vs|versus|-?against-?)\W*$", re.IGNORECASE)
_INLINE = re.compile(r"^(?:Re:?|RE:?)?\s*(?P<first>[^:]{2,70}?),?\s+vs?\.\s+(?P<second>[^:]{2,70})$")
_COURT = re.compile(
    r"^(?:In the )?(?:"
    r"United States (?:District|Bankruptcy) Court|United States Court of Appeals|Supreme Court of the United States|"
    r"(?:[A-Z][\w.]+ ){0,3}(?:Superior|Circuit|District|Supreme|Family|Probate|Municipal|County) Court\b(?: of .*)?|"
    r"(?:[A-Z][a-z]+ ){0,2}Court of (?:Appeals?|Common Pleas|Claims)\b.*"
    r")(?:,? (?:for|in and for) the .*)?$",
    re.IGNORECASE,
)
_MORE_COURT = re.compile(
    r"^(?:in and )?(?:for (?:the )?)?(?:county of|(?:\w+ ){0,2}district\b|(?:\w+ ){1,2}circuit$"
    r"|\w+ county\b|\w+ judicial\b).{0,50}$",
    re.IGNORECASE,
)
#: What follows a party's name and is no part of it.
_DESCRIPTION = re.compile(
    r",?\s*\b(?:an? individual|a (?:\w+ ){0,3}(?:corporation|company|partnership)|individually|et al\.?|inclusive|"
    r"in (?:his|her|their) official capacity.*|on behalf of.*|and DOES\b.*|DOES \d.*)\b.*$",
    re.IGNORECASE,
)
_EDGES = " .,|)"
_NOT_A_NAME = re.compile(
    r"\b(?:case|docket|no\.|number|hearing|court|dated?|filed|attorneys?|dept|judge|county|telephone|page)\b|\d{3}",
    re.IGNORECASE,
)
SMALL_WORDS = {"of", "the", "and", "for", "in", "to", "a", "an", "or", "on", "with", "by", "at", "v.", "from"}
_KEEP = {"LLC", "LLP", "LP", "USA", "U.S.", "II", "III", "IV", "PC", "P.C.", "N.A.", "NA"}


def title_case(text: str) -> str:
    """Capitals to title case, acronyms kept; other text as it is."""
    letters = [c for c in text if c.isalpha()]
    if not letters or sum(c.isupper() for c in letters) < 0.8 * len(letters):
        return text
    words = []
    for position, word in enumerate(text.split()):
        bare = word.strip(",.;()")
        if bare in _KEEP or word in _KEEP or re.fullmatch(r"(?:[A-Z]\.)+", word):
            words.append(word)
        elif bare.lower() in SMALL_WORDS and position and not words[-1].lower().startswith("exhibit"):
            words.append(word.lower())
        else:
            words.append(re.sub(r"[A-Za-z][\w’']*", lambda m: m[0][0].upper() + m[0][1:].lower(), word))
    return " ".join(words)


def court(head: Sequence[Piece]) -> Fact | None:
    """The court in the heading: a line that is one, with district, circuit or county from the next.

    A heading in capitals goes before a clerk's stamp, one that names its district or county before one that does not.
    """
    found = [fact for at in range(len(head)) if (fact := _court_at(head, at))]
    best = max(found, key=lambda one: (one[0].isupper(), len(one) > 1), default=None) if found else None
    if best is None:
        return None
    name = title_case(best[0])
    for line in best[1:]:
        name += (" " if re.match(r"for |in and", line, re.IGNORECASE) else ", ") + title_case(line)
    name = re.sub(r"^In the ", "", name).replace(" For the ", " for the ")
    original = " ".join(best)
    piece = next(piece for piece in head if piece.text.strip(_EDGES) == best[0])
    return Fact(value=name, original=original, status="supported", evidence=(piece.evidence(best[0]),))


def _court_at(head: Sequence[Piece], at: int) -> list[str] | None:
    """The lines of a court's name that begin with this piece."""
    text = head[at].text.strip(_EDGES)
    if not _COURT.match(text) or text.endswith((" of", " the")) or text[0].islower():
        return None
    if sum(word[:1].islower() for word in text.split()) > 4:
        return None  # a sentence that begins like a court
    lines = [text]
    for more in head[at + 1 : at + 3]:
        line = more.text.strip(_EDGES)
        if not (_MORE_COURT.match(line) and len(line) < 60 and more.page == head[at].page):
            break
        lines.append(line)
    return lines


def parties(head: Sequence[Piece]) -> tuple[Party, ...]:
    """Who is for and against, from a caption around a lone ``v.``, or from a line ``X v. Y``."""
    for at, piece in enumerate(head):
        if _VERSUS.match(piece.text):
            column = _column_of(piece, head)
            where = column.index(piece)
            first = _side(column[:where][::-1], upwards=True)
            second = _side(column[where + 1 :], upwards=False)
            if first and second:
                return (*first, *second)
        if at < 60 and (found := _INLINE.match(piece.text.strip())):
            pair = [_clean(found["first"]), _clean(found["second"])]
            if all(pair) and not any(_NOT_A_NAME.search(name) for name in pair) and len(piece.text) < 110:
                return tuple(_party(name, None, piece) for name in pair)
    return ()


def _column_of(versus: Piece, head: Sequence[Piece]) -> list[Piece]:
    """What stands above and below a lone ``v.``, from the top: what begins right of it is the other column."""
    near = [
        piece
        for piece in head
        if piece.page == versus.page
        and piece.box.left < versus.box.right + 2 * versus.height
        and abs(piece.box.top - versus.box.top) < 24 * versus.height
    ]
    return sorted(near, key=lambda piece: piece.box.top)


def _side(column: Sequence[Piece], *, upwards: bool) -> tuple[Party, ...]:
    """One side of the ``v.``: name lines, and the role below them."""
    lines: list[Piece] = []
    role = None
    for piece in column[:8]:
        if lines and abs(piece.box.top - lines[-1].box.top) > 5 * piece.height:
            break
        found = _ROLE.search(piece.text)
        if found and len(piece.text) < 60 and not _NOT_A_NAME.search(piece.text):
            if role is not None or (upwards and lines):
                break
            role = "/".join(dict.fromkeys(role_word.lower() for role_word in _ROLE.findall(piece.text)))
            before = piece.text[: found.start()].strip(" ,")
            if before:
                lines.append(piece)
            if not upwards:
                break
            continue
        if _COURT.match(piece.text.strip(" .,|)")) or _MORE_COURT.match(piece.text.strip(" .,|)")):
            if upwards:
                break
            continue
        if _NOT_A_NAME.search(piece.text):
            if upwards and lines:
                break
            continue
        lines.append(piece)
    if role is None or not lines:
        return ()
    text = " ".join(piece.text for piece in (lines[::-1] if upwards else lines))
    found = _ROLE.search(text)
    text = text[: found.start()] if found else text
    names = [_clean(name) for name in re.split(r";\s*(?:and\s+)?|,?\s+and\s+(?=[A-Z])", text)]
    anchor = lines[-1] if upwards else lines[0]
    return tuple(_party(name, role, anchor) for name in names if len(name) > 2 and not _NOT_A_NAME.search(name))


def _clean(name: str) -> str:
    name = re.sub(r"[|)(\]\[§]+", " ", name)
    name = _DESCRIPTION.sub("", " ".join(name.split()))
    name = re.sub(r"^(?:and|DOES)\b.*?$", lambda m: "" if m[0].startswith("DOES") else m[0].removeprefix("and "), name)
    return title_case(name.strip(" ,;:"))


def _party(name: str, role: str | None, piece: Piece) -> Party:
    return Party(name=name, role=role, status="supported", evidence=(piece.evidence(piece.text),))
