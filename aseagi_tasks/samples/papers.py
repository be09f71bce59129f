"""The catalogue: ten documents, what is true about each, and how it came to be a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from aseagi_tasks.documents import MediaType
from aseagi_tasks.samples import exhibits, filings, paperwork
from aseagi_tasks.samples.binding import Leaf, bind_pdf, bind_photograph, bind_png, bind_tiff
from aseagi_tasks.samples.drawing import Sheet
from aseagi_tasks.samples.fonts import Fonts
from aseagi_tasks.samples.scanning import Scan
from aseagi_tasks.samples.truth import Facts, TrueParty, Truth

STATE_COURT = "Superior Court of the State of California, County of Alameda"
FEDERAL_COURT = "United States District Court, Northern District of California"


@dataclass(frozen=True)
class Paper:
    """One sample.

    Attributes:
        file: its name; the extension says how it is bound.
        facts: what the document says about itself.
        leaves: makes its pages.
    """

    file: str
    facts: Facts
    leaves: Callable[[Fonts], list[Leaf]]

    @property
    def media_type(self) -> MediaType:
        """By extension."""
        types: dict[str, MediaType] = {
            "pdf": "application/pdf",
            "jpg": "image/jpeg",
            "png": "image/png",
            "tif": "image/tiff",
        }
        return types[self.file.rsplit(".", 1)[-1]]

    def truth(self, leaves: list[Leaf]) -> Truth:
        """Facts and pages."""
        return Truth(
            **self.facts.model_dump(),
            file=self.file,
            media_type=self.media_type,
            pages=tuple(leaf.truth(number) for number, leaf in enumerate(leaves, 1)),
        )

    def bind(self, leaves: list[Leaf]) -> bytes:
        """The document's bytes."""
        seed = int(self.file[:2])
        match self.media_type:
            case "application/pdf":
                return bind_pdf(leaves, title=self.facts.title, seed=seed)
            case "image/tiff":
                return bind_tiff(leaves, seed=seed)
            case "image/png":
                return bind_png(leaves[0], seed=seed)
            case "image/jpeg":
                return bind_photograph(leaves[0], seed=seed)


def _typed(sheets: list[Sheet]) -> list[Leaf]:
    return [Leaf(sheet) for sheet in sheets]


def _letter(fonts: Fonts) -> list[Leaf]:
    first, second = paperwork.letter(fonts)
    return [
        Leaf(first, Scan(dpi=200, skew=1.5, noise=5.0, specks=1.2, edge=True, quality=40)),
        Leaf(second, Scan(dpi=200, skew=-1.1, noise=5.0, specks=1.2, edge=True, quality=40)),
    ]


def _fax(fonts: Fonts) -> list[Leaf]:
    first, second = paperwork.settlement(fonts)
    return [
        Leaf(first, Scan(dpi=200, mode="bitonal", turn=180, skew=0.5, noise=16, specks=1.6, blur=0.9, streaks=1)),
        Leaf(second, Scan(dpi=200, mode="bitonal", turn=90, skew=-0.4, noise=16, specks=1.6, blur=0.9, streaks=1)),
    ]


def _police_report(fonts: Fonts) -> list[Leaf]:
    return [Leaf(paperwork.police_report(fonts), Scan(dpi=240, skew=-0.5, noise=3.0, specks=0.6, quality=42))]


def _stamped(fonts: Fonts) -> list[Leaf]:
    how = (Scan(mode="bitonal", skew=0.6), Scan(mode="bitonal", skew=-0.3), Scan(mode="bitonal", skew=0.9, specks=0.8))
    return [
        Leaf(
            sheet,
            scanned,
            stamp=f"Case {filings.FEDERAL_CASE}   Document 38-1   Filed 01/22/24   Page {number} of 3",
        )
        for number, (sheet, scanned) in enumerate(zip(filings.engineer_declaration(fonts), how, strict=True), 1)
    ]


def _duplex(fonts: Fonts) -> list[Leaf]:
    first, second = paperwork.discharge_summary(fonts)
    how = Scan(dpi=200, noise=2.5, specks=0.5, skew=0.3, paper=242, quality=40)
    return [
        Leaf(first, how),
        Leaf(Sheet(fonts), how, behind=first),
        Leaf(second, how),
        Leaf(Sheet(fonts), how, behind=second),
    ]


_PLAINTIFF = TrueParty(name="Avery Pellworth", role="plaintiff")
_DEFENDANTS = (
    TrueParty(name="Wexmoor Logistics, Inc.", role="defendant"),
    TrueParty(name="Rowan Halvering", role="defendant"),
)
_FEDERAL_PARTIES = (
    TrueParty(name="Tamsworth Orchards LLC", role="plaintiff"),
    TrueParty(name="Brindlehoff Irrigation Co.", role="defendant"),
    TrueParty(name="Silas Corvender", role="defendant"),
)

PAPERS = (
    Paper(
        "01-motion.pdf",
        Facts(
            document_type="motion",
            document_date=date(2024, 3, 4),
            filed_date=date(2024, 3, 5),
            case_number=filings.STATE_CASE,
            court=STATE_COURT,
            title="Notice of Motion and Motion to Compel Further Responses to Special Interrogatories, Set One",
            parties=(_PLAINTIFF, *_DEFENDANTS),
        ),
        lambda fonts: _typed(filings.motion(fonts)),
    ),
    Paper(
        "02-order.pdf",
        Facts(
            document_type="order",
            document_date=date(2024, 3, 15),
            filed_date=date(2024, 3, 15),
            case_number=filings.FEDERAL_CASE,
            court=FEDERAL_COURT,
            title="Order Granting in Part and Denying in Part Defendants’ Motion to Dismiss",
            parties=_FEDERAL_PARTIES,
        ),
        lambda fonts: _typed(filings.order(fonts)),
    ),
    Paper(
        "03-letter.pdf",
        Facts(
            document_type="letter",
            document_date=date(2024, 2, 6),
            filed_date=None,
            case_number=filings.STATE_CASE,
            court=None,
            title="Pellworth v. Wexmoor Logistics, Inc., et al.",
            parties=(
                TrueParty(name="Dana R. Ostermoor", role="sender"),
                TrueParty(name="Casey Marlington", role="recipient"),
            ),
        ),
        _letter,
    ),
    Paper(
        "04-fax.tif",
        Facts(
            document_type="agreement",
            document_date=date(2024, 2, 21),
            filed_date=None,
            case_number="24UD000512",
            court="Superior Court of California, County of Sacramento",
            title="Settlement Agreement and Mutual Release",
            parties=(
                TrueParty(name="Quillander Property Group LLC", role="landlord"),
                TrueParty(name="Imogen Vantress", role="tenant"),
            ),
        ),
        _fax,
    ),
    Paper(
        "05-police-report.pdf",
        Facts(
            document_type="police_report",
            document_date=date(2022, 11, 17),
            filed_date=None,
            case_number="22-118407",
            court=None,
            title="Traffic Collision Report",
            parties=(
                TrueParty(name="Halvering, Rowan D.", role="driver"),
                TrueParty(name="Pellworth, Avery J.", role="driver"),
                TrueParty(name="Sorrelgate, Mae", role="witness"),
                TrueParty(name="Ofc. T. Marrowstone", role="officer"),
            ),
        ),
        _police_report,
    ),
    Paper(
        "06-stamped-filing.pdf",
        Facts(
            document_type="declaration",
            document_date=date(2024, 1, 19),
            filed_date=date(2024, 1, 22),
            case_number=filings.FEDERAL_CASE,
            court=FEDERAL_COURT,
            title="Declaration of Wendell Ashgrove in Support of Defendants’ Motion to Dismiss",
            parties=(*_FEDERAL_PARTIES, TrueParty(name="Wendell Ashgrove", role="declarant")),
        ),
        _stamped,
    ),
    Paper(
        "07-photograph.jpg",
        Facts(
            document_type="subpoena",
            document_date=date(2024, 2, 12),
            filed_date=None,
            case_number=filings.STATE_CASE,
            court="Superior Court of California, County of Alameda",
            title="Civil Subpoena (Duces Tecum)",
            parties=(
                _PLAINTIFF,
                _DEFENDANTS[0],
                TrueParty(name="Kestrel Fleet Telematics Corp.", role="witness"),
            ),
        ),
        lambda fonts: [Leaf(filings.subpoena(fonts), Scan(dpi=300, mode="colour"))],
    ),
    Paper(
        "08-duplex.pdf",
        Facts(
            document_type="medical_record",
            document_date=date(2022, 11, 16),
            filed_date=None,
            case_number=None,
            court=None,
            title="Discharge Summary",
            parties=(
                TrueParty(name="Avery J. Pellworth", role="patient"),
                TrueParty(name="Ines Callowmere, M.D.", role="physician"),
            ),
        ),
        _duplex,
    ),
    Paper(
        "09-exhibits.pdf",
        Facts(
            document_type="declaration",
            document_date=date(2024, 4, 2),
            filed_date=date(2024, 4, 3),
            case_number=filings.STATE_CASE,
            court=STATE_COURT,
            title="Declaration of Casey Marlington in Opposition to Motion to Compel Further Responses; "
            "Exhibits A to C",
            parties=(_PLAINTIFF, *_DEFENDANTS, TrueParty(name="Casey Marlington", role="declarant")),
        ),
        exhibits.declaration_with_exhibits,
    ),
    Paper(
        "10-proof-of-service.png",
        Facts(
            document_type="proof_of_service",
            document_date=date(2024, 3, 5),
            filed_date=None,
            case_number=filings.STATE_CASE,
            court="Alameda County Superior Court",
            title="Proof of Service",
            parties=(TrueParty(name="Pellworth", role="plaintiff"), _DEFENDANTS[0]),
        ),
        lambda fonts: [Leaf(filings.proof_of_service(fonts), Scan(dpi=200, noise=2.0, skew=0.3, paper=252))],
    ),
)
