"""What the court filings say: motion, order, declarations, subpoena, proof of service. All of it is made up."""

from __future__ import annotations

from aseagi_tasks.samples.drawing import ECF_BLUE, Sheet
from aseagi_tasks.samples.fonts import Fonts
from aseagi_tasks.samples.layouts import Caption, Flow, Pleading

STATE_COURT = ("SUPERIOR COURT OF THE STATE OF CALIFORNIA", "COUNTY OF ALAMEDA")
STATE_CASE = "23CV998417"
FEDERAL_CASE = "3:21-cv-01234-ABC"


def motion(fonts: Fonts) -> list[Sheet]:
    """A motion to compel on pleading paper, three pages, with the clerk's filing stamp."""
    footer = "NOTICE OF MOTION AND MOTION TO COMPEL FURTHER RESPONSES"
    first = Pleading(fonts, page=1, footer=footer)
    _counsel(
        first,
        "Attorneys for Plaintiff AVERY PELLWORTH",
        stamp=(
            "ELECTRONICALLY FILED",
            "Superior Court of California,",
            "County of Alameda",
            "03/05/2024 at 11:42:07 AM",
            "By: P. Lanternby, Deputy Clerk",
        ),
    )
    first.row()
    first.rows(*STATE_COURT, align="centre", role="serif-bold")
    first.row()
    first.caption(
        [
            ("AVERY PELLWORTH, an individual,", f"Case No. {STATE_CASE}"),
            ("Plaintiff,", "NOTICE OF MOTION AND MOTION"),
            ("v.", "TO COMPEL FURTHER RESPONSES"),
            ("WEXMOOR LOGISTICS, INC.;", "TO SPECIAL INTERROGATORIES,"),
            ("ROWAN HALVERING; and DOES 1", "SET ONE"),
            ("through 10, inclusive,", "Hearing: April 16, 2024, 9:00 a.m."),
            ("Defendants.", "Dept.: 17   Complaint: March 9, 2023"),
        ]
    )
    first.row()
    first.para("TO ALL PARTIES AND THEIR ATTORNEYS OF RECORD:", indent=0)
    first.para(
        "PLEASE TAKE NOTICE that on April 16, 2024, at 9:00 a.m., or as soon thereafter as the matter may be heard in "
        "Department 17 of this Court, Plaintiff Avery Pellworth will and hereby does move for an order compelling "
        "Defendant Wexmoor Logistics, Inc. (“Wexmoor”) to serve further verified responses to Special "
        "Interrogatories, Set One, Nos. 4, 7, 11 and 12, and for monetary sanctions of $2,460.00."
    )
    first.para(
        "The motion is based on this notice, the memorandum below, the declaration of Dana R. Ostermoor, the separate "
        "statement required by rule 3.1345 of the California Rules of Court, the records of the case, and such "
        "argument as the Court may hear."
    )
    second = Pleading(fonts, page=2, footer=footer)
    second.para(
        "The motion is made under Code of Civil Procedure section 2030.300 on the ground that the responses are "
        "evasive and that the objections are without merit and too general. Counsel met and conferred by letter of "
        "February 6, 2024, and by telephone on February 20, 2024, without success."
    )
    second.row("MEMORANDUM OF POINTS AND AUTHORITIES", align="centre", role="serif-bold")
    second.row("I.  INTRODUCTION", role="serif-bold")
    second.para(
        "On November 16, 2022, a delivery truck owned by Wexmoor and driven by Defendant Rowan Halvering struck "
        "Plaintiff’s car at Lantern Street and Ninth Avenue in Harbor Mesa. The police report places the truck in the "
        "intersection against a red signal. Plaintiff asked four plain questions: who was dispatching the truck, how "
        "many hours the driver had worked, what the telematics unit recorded, and when the brakes were last "
        "inspected."
    )
    second.row("II.  THE RESPONSES ARE EVASIVE", role="serif-bold")
    second.para(
        "To each of the four, Wexmoor answered: “Responding party objects as vague, overbroad and burdensome. "
        "Discovery is continuing.” A party must answer as completely and straightforwardly as the information "
        "reasonably available to it permits. (Code Civ. Proc., § 2030.220, subd. (a).) An answer that discovery is "
        "continuing states nothing, and an objection must set out its specific ground. (Id., § 2030.240, subd. (b).)"
    )
    second.para(
        "Interrogatory No. 4 asks for one name. Interrogatory No. 7 asks for one number, which the payroll records "
        "hold. Nos. 11 and 12 ask for a reading and a date. None of them is vague; Wexmoor uses the same words on its "
        "own route sheets, in its safety manual, and in its contract with the maker of the telematics unit. None is "
        "overbroad: together they reach back fourteen days. And none is burdensome, as the next section shows. Wexmoor "
        "claimed no privilege, and the time to claim one has passed."
    )
    third = Pleading(fonts, page=3, footer=footer)
    third.para(
        "Wexmoor’s own safety manager testified on January 18, 2024, that dispatch logs and telematics data for "
        "November 2022 are kept on a server in Fremont and can be printed in an afternoon. The burden is slight, and "
        "no motion for a protective order was made."
    )
    third.para(
        "The information goes to the heart of the case. If the driver had been on duty for more than twelve hours, or "
        "if the brakes were past their inspection, the negligence is Wexmoor’s own. The unit writes over its memory "
        "after twenty-four months, so that delay may cost Plaintiff the evidence."
    )
    third.row("III.  SANCTIONS ARE WARRANTED", role="serif-bold")
    third.para(
        "The Court shall impose a monetary sanction against a party that unsuccessfully opposes a motion to compel "
        "unless it finds substantial justification. (Code Civ. Proc., § 2030.300, subd. (d).) Plaintiff has incurred "
        "6 hours at $400.00 and a $60.00 filing fee, as set out in the declaration of counsel."
    )
    third.row("IV.  CONCLUSION", role="serif-bold")
    third.para(
        "Plaintiff respectfully asks that further responses, verified and without objection, be ordered within ten "
        "days, and that sanctions of $2,460.00 be awarded."
    )
    third.row("Dated: March 4, 2024", right="OSTERMOOR & VANCE LLP", right_x=330)
    third.row()
    third.row(right="By: /s/ Dana R. Ostermoor", right_x=330)
    third.row(right="Dana R. Ostermoor", right_x=330)
    third.row(right="Attorneys for Plaintiff", right_x=330)
    return [first.end(), second.end(), third.end()]


def order(fonts: Fonts) -> list[Sheet]:
    """A federal order on a motion to dismiss, two pages under the filing system's header."""
    sheets = [Sheet(fonts), Sheet(fonts)]
    for number, sheet in enumerate(sheets, 1):
        header = f"Case {FEDERAL_CASE}   Document 45   Filed 03/15/24   Page {number} of 2"
        sheet.write(306, 26, header, role="sans", size=9.5, align="centre", colour=ECF_BLUE)
    flow = Flow(sheets[0], y=92, leading=16)
    flow.lines("UNITED STATES DISTRICT COURT", "NORTHERN DISTRICT OF CALIFORNIA", role="serif-bold", align="centre")
    flow.lines("San Francisco Division", align="centre")
    flow.gap(1.2)
    flow.caption(_federal_caption("ORDER GRANTING IN PART AND", "DENYING IN PART DEFENDANTS’", "MOTION TO DISMISS"))
    flow.leading = 21
    flow.para(
        "Plaintiff Tamsworth Orchards LLC (“Tamsworth”) bought a drip irrigation system from Defendant Brindlehoff "
        "Irrigation Co. (“Brindlehoff”) in 2019. It alleges that the pressure valves failed in the summer of 2020 and "
        "that some 340 acres of almond trees were lost. Before the Court is Defendants’ motion to dismiss the Second "
        "Amended Complaint under Rule 12(b)(6) of the Federal Rules of Civil Procedure, filed January 22, 2024 "
        "(Dkt. 38). The Court heard argument on March 7, 2024.",
        indent=36,
    )
    flow.line("I.   BREACH OF WARRANTY", role="serif-bold")
    flow.para(
        "Defendants contend that the written warranty had run out. The complaint pleads that Brindlehoff’s field "
        "engineer extended it by letter of May 11, 2020. Taken as true, that is enough. The motion is DENIED as to the "
        "first and second claims.",
        indent=36,
    )
    flow.para(
        "Defendants also argue that the buyer’s failure to flush the inlet screens voided the warranty. That may be "
        "so, but it is a matter of proof. The Court does not weigh declarations on a motion under Rule 12(b)(6).",
        indent=36,
    )
    flow.line("II.   NEGLIGENT MISREPRESENTATION", role="serif-bold")
    flow.para(
        "The third claim must state who said what, when, and to whom. Fed. R. Civ. P. 9(b). The complaint attributes "
        "the statements to “Brindlehoff’s sales staff” and dates none of them. The motion is GRANTED as to the "
        "third claim, with leave to amend.",
        indent=36,
    )
    flow = Flow(sheets[1], y=92, leading=21)
    flow.line("III.   THE INDIVIDUAL DEFENDANT", role="serif-bold")
    flow.para(
        "Defendant Silas Corvender is sued as the company’s sole shareholder. Ownership alone does not make him "
        "answerable for its debts, and nothing is pleaded about how he used the corporate form: no commingling, "
        "no want of capital, no disregard of its records. The motion is GRANTED "
        "as to Mr. Corvender, with leave to amend.",
        indent=36,
    )
    flow.line("IV.   CONCLUSION", role="serif-bold")
    flow.para("For the reasons given, IT IS HEREBY ORDERED:", indent=36)
    flow.para("1.  The motion to dismiss is DENIED as to the first and second claims for relief.", inset=36)
    flow.para("2.  The motion is GRANTED with leave to amend as to the third claim and Mr. Corvender.", inset=36)
    flow.para("3.  Any Third Amended Complaint shall be filed by April 5, 2024.", inset=36)
    flow.para("4.  The case management conference is continued to May 23, 2024, at 10:00 a.m.", inset=36)
    flow.line("IT IS SO ORDERED.", role="serif-bold")
    flow.gap(0.6)
    flow.line("Dated: March 15, 2024")
    flow.gap(0.8)
    flow.left, flow.leading = 300, 16
    flow.sheet.sign(310, flow.y - 8, 130, seed=4)
    flow.sheet.rule(300, flow.y, 520, flow.y)
    flow.gap(1)
    flow.lines("Honorable Althea B. Corrigane", "United States District Judge")
    sheets[1].write(306, 744, "2", size=11, align="centre")
    return sheets


def engineer_declaration(fonts: Fonts) -> list[Sheet]:
    """Three typewritten pages that were signed on paper, scanned and filed."""
    pages = [Flow(Sheet(fonts), y=96, leading=22) for _ in range(3)]
    flow = pages[0]
    flow.leading = 16
    flow.lines("UNITED STATES DISTRICT COURT", "NORTHERN DISTRICT OF CALIFORNIA", role="serif-bold", align="centre")
    flow.gap()
    flow.caption(_federal_caption("DECLARATION OF WENDELL ASHGROVE", "IN SUPPORT OF DEFENDANTS’", "MOTION TO DISMISS"))
    flow.leading = 22
    flow.para("I, Wendell Ashgrove, declare as follows:", indent=36)
    flow.para(
        "1.  I am the Director of Field Engineering at Brindlehoff Irrigation Co. I have worked there since 2011. I "
        "make this declaration from my own knowledge and could testify to it if called.",
        indent=36,
    )
    flow.para(
        "2.  On April 2, 2019, Brindlehoff delivered to Tamsworth Orchards LLC a Model 600 drip irrigation system "
        "under Sales Order 19-4471. The written warranty ran for twelve months from delivery.",
        indent=36,
    )
    flow.para(
        "3.  I visited the orchard near Winters, California, on two days in the summer of 2020. I took down the "
        "pressure at each of the sixteen valve stations.",
        indent=36,
    )
    flow.para(
        "4.  On both days the pump was running, and the gauge at the well read 55 pounds per square inch, as it "
        "should.",
        indent=36,
    )
    flow = pages[1]
    flow.para(
        "5.  Thirteen of the stations held between 28 and 32 pounds per square inch, which is within the stated range. "
        "Three, on the eastern line, held less than 12. At each of the three the inlet screen was packed with silt.",
        indent=36,
    )
    flow.para(
        "6.  The operating manual calls for the screens to be flushed every fourteen days. I asked the foreman for the "
        "flushing log. He told me that none had been kept.",
        indent=36,
    )
    flow.para(
        "7.  I cleaned the three screens. Within an hour all sixteen stations were in range. I wrote this in my field "
        "report of July 30, 2020, and left a copy with the foreman.",
        indent=36,
    )
    flow.para(
        "8.  My letter of May 11, 2020, offered a service visit at no charge. It did not extend the warranty, and I "
        "have no authority to extend one.",
        indent=36,
    )
    flow.para(
        "9.  In the spring of 2021 Tamsworth ordered two more valve stations of the same model. They were delivered on "
        "April 14, 2021, and paid for. Nobody complained to me of the first sixteen at that time.",
        indent=36,
    )
    flow.para(
        "10.  A true copy of my field report is attached to the complaint as its Exhibit 4. The photographs in it are "
        "mine.",
        indent=36,
    )
    flow = pages[2]
    flow.para(
        "11.  I have never met Mr. Silas Corvender on business of the orchard, and he gave me no instruction about it.",
        indent=36,
    )
    flow.para(
        "I declare under penalty of perjury under the laws of the United States of America that the foregoing is true "
        "and correct.",
        indent=36,
    )
    flow.para("Executed on January 19, 2024, at Sacramento, California.", indent=36)
    flow.gap(1.5)
    flow.sheet.sign(310, flow.y - 6, 150, seed=9)
    flow.sheet.rule(300, flow.y, 520, flow.y)
    flow.gap(0.8)
    flow.left = 300
    flow.line("Wendell Ashgrove")
    for number, page in enumerate(pages, 1):
        page.sheet.write(306, 744, str(number), size=11, align="centre")
    return [page.sheet for page in pages]


def subpoena(fonts: Fonts) -> Sheet:
    """A civil subpoena for records, one page."""
    sheet = Sheet(fonts)
    flow = Flow(sheet, left=66, right=546, y=66, size=12.5, leading=17)
    flow.lines("SUPERIOR COURT OF CALIFORNIA", "COUNTY OF ALAMEDA", role="serif-bold", align="centre")
    flow.gap(0.7)
    flow.caption(
        [
            ("AVERY PELLWORTH,", f"Case No. {STATE_CASE}"),
            ("Plaintiff,", ""),
            ("v.", "CIVIL SUBPOENA"),
            ("WEXMOOR LOGISTICS, INC., et al.,", "(DUCES TECUM)"),
            ("Defendants.", ""),
        ]
    )
    flow.para("THE PEOPLE OF THE STATE OF CALIFORNIA, TO:", role="serif-bold")
    flow.para("Custodian of Records, Kestrel Fleet Telematics Corp., 70 Gantry Road, Fremont, California 94500")
    flow.para(
        "1.  YOU ARE ORDERED TO APPEAR AS A WITNESS in this action on April 2, 2024, at 9:30 a.m., in Department 17, "
        "1225 Harborlight Street, Oakland, California, and to bring the records described below."
    )
    flow.para(
        "2.  Instead of appearing you may send true copies, with the declaration of the custodian, to the clerk of the "
        "court in a sealed envelope."
    )
    flow.para("3.  Records to be produced:")
    flow.para("a.  all position, speed and braking data of unit KF-20873 for November 16, 2022;", inset=28)
    flow.para("b.  the maintenance history of that unit from January 1 to December 31, 2022;", inset=28)
    flow.para("c.  the contract with Wexmoor Logistics, Inc. under which the unit was fitted.", inset=28)
    flow.para(
        "DISOBEDIENCE OF THIS SUBPOENA MAY BE PUNISHED AS CONTEMPT BY THIS COURT. YOU WILL ALSO BE LIABLE FOR THE SUM "
        "OF $500 AND ALL DAMAGES RESULTING FROM YOUR FAILURE TO OBEY.",
        role="serif-bold",
    )
    flow.gap(0.4)
    flow.line("Date issued: February 12, 2024")
    flow.gap(1.2)
    flow.left = 300
    sheet.sign(312, flow.y - 8, 140, seed=2)
    sheet.rule(300, flow.y, 530, flow.y)
    flow.gap(1)
    flow.lines("Dana R. Ostermoor", "Attorney for Plaintiff", "Telephone: (510) 555-0142")
    return sheet


def proof_of_service(fonts: Fonts) -> Sheet:
    """A proof of service by mail and electronic mail, one page."""
    sheet = Sheet(fonts)
    flow = Flow(sheet, y=80, leading=17)
    flow.line("PROOF OF SERVICE", role="serif-bold", align="centre")
    flow.line("Pellworth v. Wexmoor Logistics, Inc., et al.", role="serif-italic", align="centre")
    flow.line(f"Alameda County Superior Court, Case No. {STATE_CASE}", align="centre")
    flow.gap()
    flow.lines("STATE OF CALIFORNIA", "COUNTY OF ALAMEDA")
    flow.gap(0.6)
    flow.para(
        "I am employed in the County of Alameda, State of California. I am over the age of eighteen and not a party to "
        "this action. My business address is 1188 Lantern Street, Suite 400, Oakland, California 94600.",
        indent=36,
    )
    flow.para("On March 5, 2024, I served the following document:", indent=36)
    flow.para(
        "NOTICE OF MOTION AND MOTION TO COMPEL FURTHER RESPONSES TO SPECIAL INTERROGATORIES, SET ONE",
        inset=36,
        role="serif-bold",
    )
    flow.para("on the persons below, in the manner shown:", indent=36)
    flow.lines("Casey Marlington", "MARLINGTON GREAVES LLP", "305 Tidewater Plaza", "San Leandro, California 94500")
    flow.lines("c.marlington@marlington.example", "Attorneys for Defendants")
    flow.gap(0.6)
    flow.para(
        "[X]  BY MAIL. I placed a true copy in a sealed envelope with postage fully prepaid and deposited it with the "
        "United States Postal Service at Oakland, California.",
    )
    flow.para("[X]  BY ELECTRONIC MAIL. I sent the document to the address above. No error was reported.")
    flow.para("[  ]  BY PERSONAL SERVICE.")
    flow.para(
        "I declare under penalty of perjury under the laws of the State of California that the foregoing is true and "
        "correct. Executed on March 5, 2024, at Oakland, California.",
        indent=36,
    )
    flow.gap(1.4)
    flow.left = 300
    sheet.sign(308, flow.y - 6, 120, seed=6)
    sheet.rule(300, flow.y, 520, flow.y)
    flow.gap(1)
    flow.line("Linnet Farrowby")
    return sheet


def _counsel(page: Pleading, clients: str, *, stamp: tuple[str, ...]) -> None:
    """Rows 1 to 6: who files, and at the right the clerk's stamp."""
    who = (
        "Dana R. Ostermoor (SBN 990417)",
        "OSTERMOOR & VANCE LLP",
        "1188 Lantern Street, Suite 400",
        "Oakland, California 94600",
        "Telephone: (510) 555-0142",
    )
    for number, (left, right) in enumerate(zip(who, stamp, strict=True)):
        page.row(left, right=right, right_role="sans" if number else "sans-bold", right_x=380, right_size=9)
    page.row(clients)


def _federal_caption(*title: str) -> Caption:
    return [
        ("TAMSWORTH ORCHARDS LLC,", f"Case No. {FEDERAL_CASE}"),
        ("Plaintiff,", ""),
        ("v.", title[0]),
        ("BRINDLEHOFF IRRIGATION CO.", title[1]),
        ("and SILAS CORVENDER,", title[2]),
        ("Defendants.", ""),
    ]
