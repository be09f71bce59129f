"""Document type and title: the first heading that says what the paper is. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aseagi_tasks.analysis.courts import is_court
from aseagi_tasks.analysis.layout import Piece, below
from aseagi_tasks.analysis.names import SMALL_WORDS, is_capitals, title_case
from aseagi_tasks.analysis.schema import Fact

#: What a heading's words make the paper. The one that stands first counts ("order granting motion" is an order), and
#: one that is the object of another does not ("in support of motion").
_NOUNS: tuple[tuple[str, str], ...] = (
    ("proof_of_service", r"(?:proof|certificate|affidavit|declaration|acknowledge?ment|return) of (?:\w+ )?service"),
    ("subpoena", r"subpoena"),
    ("summons", r"summons"),
    ("motion", r"notice of (?:[\w’'-]+ ){0,3}motions?|motions?(?! picture)|ex parte application"),
    ("police_report", r"(?:traffic collision|collision|traffic crash|crash|crime|police|arrest|offense) report"),
    ("police_report", r"(?:incident|accident|investigation|supplemental) report"),
    (
        "medical_record",
        r"discharge summary|operative report|progress notes?|history and physical|emergency department (?:note|record"
        r"|report)|consultation report|radiology report|medical records?",
    ),
    ("transcript", r"(?:reporter[’']?s )?transcript of|(?:videotaped |oral |video |remote )*deposition of|transcript"),
    ("affidavit", r"affidavit"),
    ("declaration", r"declaration|affirmation"),
    ("petition", r"petition"),
    ("complaint", r"(?:cross-)?complaint"),
    ("answer", r"answer"),
    (
        "brief",
        r"brief|memorandum of (?:law|points)|memorandum in (?:support|opposition)|reply memorandum|memorandum brief"
        r"|opposition|reply",
    ),
    ("opinion", r"(?:memorandum )?opinion"),
    ("order", r"(?<!purchase )(?<!work )(?<!money )(?<!mail )order"),
    ("judgment", r"judge?ment"),
    ("notice", r"notice"),
    ("agreement", r"agreement|lease|stipulation and release|contract"),
    ("invoice", r"invoice"),
    (
        "other",
        r"stipulation|demurrer|objections?|indictment|verification|cover sheet|request|response|interrogatories"
        r"|substitution of attorney|entry of appearance|(?:case management|joint) statement|report and recommendation"
        r"|decree|warrant",
    ),
)
_HEAD = re.compile("|".join(rf"(?P<{kind}_{n}>\b(?:{noun})\b)" for n, (kind, noun) in enumerate(_NOUNS)), re.IGNORECASE)
#: Before the word that says what it is: whose, which, how often amended.
_BEFORE = re.compile(
    r"(?:\[?\(?proposed\)?\]?|\[?draft\]?|\W|[\w’'.&-]+[’']s?|(?:first|second|third|fourth|amended|supplemental|verified"
    r"|original|class|action|civil|criminal|cross|joint|unopposed|agreed|stipulated|emergency|renewed|final|default"
    r"|consent|partial|summary|minute|case|management|pretrial|scheduling|protective|temporary|restraining|preliminary"
    r"|injunction|general|special|limited|opening|reply|appellants?|appellees?|plaintiffs?|defendants?|petitioners?"
    r"|respondents?|trial|amicus|curiae|docketing|public|collective|expedited|ex|parte|tentative|administrative|written"
    r"|deposition|and|in|limine|sur|sworn|expert|short|form|slip|per|curiam|unpublished|published|attorney|sealed|tax"
    r"|settlement|lease|rental|purchase|retainer|marital|residential|commercial|employment|service|services|operating"
    r"|license|confidentiality|non-disclosure|nondisclosure|separation|fee|engagement|loan|security|sale|partnership"
    r"|real|property|asset|stock|subscription|plea|mutual|month-to-month|three-day|day|eviction|of\ssupplemental"
    r"|\d+(?:st|nd|rd|th)?)\b)*",
    re.IGNORECASE,
)
#: After it: nothing, what it is about, what it does.
_AFTER = re.compile(
    r"\W*$|\s*[^\w\s]|\s+(?:of|to|for|in|on|re|regarding|by|and|with|without|from|against|as|at|after|before|upon"
    r"|pursuant|under|that|between|or|concerning|entry|no|number|decree|one|two|duces|record|appearance|\w+ing|\d+"
    r"|[ivx]+|plaintiffs?|defendants?)\b",
    re.IGNORECASE,
)
_POLICE = re.compile(
    r"\b(?:police|sheriff|(?:highway|state) patrol|law enforcement|public safety|trooper)", re.IGNORECASE
)
#: A line that names an office or a firm, above the title and in the same letters.
_OFFICE = re.compile(
    r"\b(?:department|dept|hospital|center|centre|clinic|office|offices|services?|bureau|agency|police|sheriff|division"
    r"|city|county|university|company|inc|llc|llp|corp|group|associates|medical|health|court|courthouse|district"
    r"|state of \w+)\b",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"\b(?:of|to|for|in|the|and|or|re|by|with|from|on|a|an|against)$|[,:&-]$", re.IGNORECASE)
_SALUTATION = re.compile(r"^Dear\s+[A-Z][\w. &’'-]{1,60}[:,]?$|^To (?:All Parties|Whom It May Concern)[:,]?$")
_OPINION = re.compile(
    r"^\(?Slip Opinion\)?$|^Opinion of the Court$|^O\s*P\s*I\s*N\s*I\s*O\s*N$|^PER CURIAM\b", re.IGNORECASE
)
_APPEAL_FROM = re.compile(r"^(?:On )?Appeals? from (?:an?|the)\b|^Certiorari to the\b|^On petition for review\b", re.I)
#: Who signs or joins an opinion; a brief's cover has no judges.
_JUDGES = re.compile(
    r"\b(?:Circuit|Chief|Senior|Presiding)\s+Judges?\b|\b(?:P\.|C\.|A\.P\.)?\s?J\.(?:,|$|\s)|\bJJ\.|\bJustices?\b"
    r"|delivered the opinion|\bJudge\.\s|\bPER CURIAM\b",
)
_APPELLATE = re.compile(r"\b(?:Courts? of Appeals?|Supreme Court|Appellate (?:Court|Division|Term))\b", re.IGNORECASE)
_FORM = re.compile(
    r"^[A-Z]{2,4}-\d{2,3}(?:\s?\([A-Z]+\))?(?:,\s.*)?$|^AO \d{2,3}[A-Z]?\s\(Rev|^Form (?:Adopted|Approved) (?:for|by)\b"
    r"|^(?:Official|Bankruptcy) Form [B\d]",
    re.IGNORECASE,
)
#: A line of the caption or of a form, not of a heading.
_LABELLED = re.compile(
    r"^[\w./’' ()-]{2,40}:\s+\S|^(?:hearing|date|dept|department|time|judge|hon|honorable|case|trial|action|courtroom"
    r"|ctrm|complaint filed|file no|report date|officer|assigned|no\.|number|dated|page|index|docket|cause|civil action"
    r"|jury trial|[ivx]{1,4}\.|\d{1,2}\.)(?!\w)(?! (?:management|order|cover))|\d{4}-\d",
    re.IGNORECASE,
)
MAX_LINES = 7


def salutation(head: Sequence[Piece]) -> Piece | None:
    """A letter's ``Dear …:`` on the first page."""
    return next((one for one in head if one.page == head[0].page and _SALUTATION.match(one.text.strip())), None)


def type_and_title(head: Sequence[Piece]) -> tuple[Fact | None, Fact | None]:
    """What the paper is and what it is called; letters by their salutation, opinions by how they begin."""
    first = [piece for piece in head if piece.page == head[0].page]
    dear = salutation(head)
    form = next((piece for piece in first if _FORM.search(piece.text.strip())), None)
    for heading in _headings(first[: first.index(dear)] if dear else first):
        kind = kind_of(" ".join(piece.text for piece in heading), first)
        while kind is None and len(heading) > 1 and _is_office(heading[0]):
            heading = heading[1:]
            kind = kind_of(" ".join(piece.text for piece in heading), first)
        if kind and not (kind == "exhibit" and len(first) > 10):
            merged = re.match(r"(?:plaintiff|defendant|petitioner|respondent)s?,", heading[0].text, re.IGNORECASE)
            title = None if merged or _OPINION.match(heading[0].text.strip()) else _title(heading)
            return _kind("form" if kind == "other" and form else kind, heading[0]), title
    if dear is not None:
        return _kind("letter", dear), None
    opinion = next((piece for piece in first if _OPINION.match(piece.text.strip())), None)
    if opinion is None and any(_APPELLATE.search(piece.text) for piece in first[:16]):
        appeal = next((piece for piece in first if _APPEAL_FROM.match(piece.text.strip(" ()"))), None)
        if appeal is not None and any(_JUDGES.search(piece.text) for piece in head):
            opinion = appeal
    if opinion is not None:
        return _kind("opinion", opinion), None
    return (_kind("form", form) if form else None), None


def kind_of(heading: str, first: Sequence[Piece] = ()) -> str | None:
    """The document type that a heading names; None where it names none.

    Args:
        first: the first page's pieces: an incident report is the police's only if it says so.
    """
    text = heading.strip(" -—_[]()|:.")
    if re.fullmatch(r"exhibit [a-z0-9]{1,3}", text, re.IGNORECASE):
        return "exhibit"
    found = _HEAD.search(text)
    while found:
        # "with respect to motions", "summary judgment standards": a word of the heading, not what it is about
        if not _BEFORE.fullmatch(text[: found.start()]):
            return None
        if found[0].lower().endswith(" of") or _AFTER.match(text[found.end() :]):
            kind = (found.lastgroup or "").rsplit("_", 1)[0]
            if kind == "police_report" and re.match(r"incident|accident|invest|supp", found[0], re.IGNORECASE):
                return kind if any(_POLICE.search(piece.text) for piece in first) else None
            return kind
        found = _HEAD.search(text, found.end())
    return None


def _headings(first: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Runs of heading lines from the top: below each other, in the same letters, without a gap."""
    used: set[Piece] = set()
    for piece in first:
        if piece in used or not _is_heading(piece):
            continue
        if " " not in piece.text.strip() and not is_capitals(piece.text) and sum(map(piece.is_beside, first)) > 1:
            continue  # the head of a table's column
        lines = [piece]
        while len(lines) < MAX_LINES:
            more = below(lines[-1], first, lines=1.9)
            if more is None or not _is_heading(more) or not _goes_on(lines, more):
                break
            lines.append(more)
        used.update(lines)
        yield lines


def _is_office(piece: Piece) -> bool:
    return bool(_OFFICE.search(piece.text)) and not _GOES_ON.search(piece.text.strip())


def _goes_on(lines: Sequence[Piece], more: Piece) -> bool:
    first, last = lines[0], lines[-1]
    if re.search(r"\[\s?[xX]?\s?\]|\bTO:$", more.text):
        return False  # boxes to be ticked, an addressee
    apart = abs((more.box.left + more.box.right) - (last.box.left + last.box.right)) / 2
    aligned = abs(more.box.left - first.box.left) < 2 * last.height or apart < 2 * last.height
    same = is_capitals(more.text) == is_capitals(last.text) and abs(more.height - last.height) <= 0.4 * last.height
    return aligned and same


def _is_heading(piece: Piece) -> bool:
    """Capitals, or a short line in title case: running text is neither, nor are courts and the caption's lines."""
    text = piece.text.strip()
    words = re.findall(r"[A-Za-z’']{2,}", text)
    if not words or len(text) > 110 or _LABELLED.search(text) or is_court(text):
        return False
    if is_capitals(text):
        return True
    titled = sum(word[0].isupper() or word in SMALL_WORDS for word in words)
    return titled == len(words) and len(words) <= 9 and not text.endswith((".", ",", ";"))


def _title(heading: Sequence[Piece]) -> Fact:
    text = " ".join(piece.text.strip() for piece in heading)
    return Fact(
        value=title_case(text).strip(" -—_|:"),
        original=text,
        status="supported",
        evidence=tuple(piece.evidence() for piece in heading),
    )


def _kind(kind: str, piece: Piece) -> Fact:
    return Fact(value=kind, original=piece.text, status="supported", evidence=(piece.evidence(),))
