"""A declaration with its exhibits, as it is filed: typed pages, slip sheets, and whatever was scanned behind them."""

from __future__ import annotations

from aseagi_tasks.samples.binding import Leaf
from aseagi_tasks.samples.drawing import Sheet
from aseagi_tasks.samples.filings import STATE_CASE, STATE_COURT
from aseagi_tasks.samples.fonts import Fonts, Role
from aseagi_tasks.samples.layouts import Flow, Pleading, cells, heading, table
from aseagi_tasks.samples.scanning import Scan

_COPIER = Scan(dpi=200, mode="bitonal", specks=0.5, blur=0.7)


def declaration_with_exhibits(fonts: Fonts) -> list[Leaf]:
    """Twelve pages of every kind that a filing can hold."""
    declaration = [Leaf(sheet) for sheet in _declaration(fonts)]
    return [
        *declaration,
        Leaf(_slip(fonts, "A")),
        Leaf(_driver_log(fonts), Scan(dpi=200, mode="grey", skew=-0.8, noise=2.5, quality=40, edge=True)),
        Leaf(_message(fonts), Scan(dpi=150, mode="colour", skew=0.4, noise=2.0, quality=45)),
        Leaf(Sheet(fonts), Scan(dpi=150, mode="grey", noise=2.0, specks=0.4, quality=40)),
        Leaf(_slip(fonts, "B")),
        Leaf(_hours(fonts)),
        Leaf(_gate_register(fonts), Scan(dpi=200, mode="bitonal", turn=90, skew=0.5, specks=0.6, blur=0.7)),
        Leaf(_slip(fonts, "C"), _COPIER),
        Leaf(_invoice(fonts), Scan(dpi=200, mode="bitonal", skew=1.0, specks=0.8, blur=0.7, streaks=1)),
        Leaf(_service(fonts)),
    ]


def _slip(fonts: Fonts, letter: str) -> Sheet:
    sheet = Sheet(fonts)
    sheet.write(306, 400, f"EXHIBIT {letter}", role="serif-bold", size=34, align="centre")
    return sheet


def _driver_log(fonts: Fonts) -> Sheet:
    """A form with typed entries."""
    sheet = Sheet(fonts)
    sheet.write(306, 66, "WEXMOOR LOGISTICS, INC.", role="sans-bold", size=14, align="centre")
    sheet.write(306, 84, "DRIVER’S DAILY LOG", role="sans-bold", size=12, align="centre")
    y = cells(
        sheet,
        104,
        [(200, "DRIVER", "HALVERING, ROWAN"), (140, "DATE", "11/16/2022"), (200, "TRUCK / UNIT", "31 / KF-20873")],
    )
    y = cells(
        sheet, y, [(200, "HOME TERMINAL", "FREMONT"), (140, "START MILES", "118,204"), (200, "END MILES", "118,371")]
    )
    y = heading(sheet, y + 14, "STOPS")
    stops = [
        ("TIME", "PLACE", "DUTY", "REMARKS"),
        ("04:35", "Fremont yard", "On duty", "Pre-trip check done"),
        ("05:10", "Fremont yard", "Driving", "Load 7716, 14 pallets"),
        ("07:55", "Tracy depot", "On duty", "Unloaded 6 pallets"),
        ("09:20", "Tracy depot", "Driving", ""),
        ("12:40", "San Leandro", "Off duty", "Meal, 30 minutes"),
        ("13:10", "San Leandro", "Driving", "Rerouted by dispatch"),
        ("16:48", "Harbor Mesa", "Stopped", "Collision, police called"),
        ("19:05", "Harbor Mesa", "Off duty", "Truck towed"),
    ]
    table(sheet, y, [70, 140, 110, 220], stops, left=36, height=24, size=11)
    sheet.write(36, 440, "I certify that these entries are true and correct.", role="sans", size=11)
    sheet.sign(60, 486, 130, seed=7)
    sheet.rule(36, 492, 250, 492)
    sheet.write(36, 506, "Driver’s signature", role="sans", size=9.5)
    return sheet


def _message(fonts: Fonts) -> Sheet:
    """A printed electronic mail with a passage marked in yellow."""
    sheet = Sheet(fonts)
    flow = Flow(sheet, y=80, size=11.5, leading=17)
    for label, value in (
        ("From:", "Thea Brackenfold, Dispatch"),
        ("Sent:", "Thursday, November 17, 2022 8:12 AM"),
        ("To:", "Gideon Marsh-Calloway, Safety"),
        ("Subject:", "Truck 31 yesterday"),
    ):
        sheet.write(72, flow.y, label, role="sans-bold", size=11.5)
        sheet.write(140, flow.y, value, role="sans", size=11.5, beside=True)
        flow.y += flow.leading
    sheet.rule(72, flow.y - 6, 540, flow.y - 6, thickness=1.5)
    flow.gap(1)
    flow.para("Gideon,", role="sans")
    sheet.fill(70, flow.y - 12, 474, 35, (1.0, 0.95, 0.45))
    flow.para(
        "I sent Rowan the new route at 1:06 in the afternoon because Route 9 was closed. He had been up since before "
        "four and said so.",
        role="sans",
    )
    flow.para(
        "The unit was online the whole time. I can print speed and braking for the last mile if you want it, it takes "
        "ten minutes.",
        role="sans",
    )
    flow.para("Please tell me what to do with the log book.", role="sans")
    flow.para("Thea", role="sans")
    return sheet


def _hours(fonts: Fonts) -> Sheet:
    """A landscape page with a table."""
    sheet = Sheet(fonts, landscape=True)
    sheet.write(396, 64, "HOURS WORKED BY ROWAN HALVERING", role="sans-bold", size=14, align="centre")
    sheet.write(396, 82, "November 3 to November 16, 2022 (from payroll records)", role="sans", size=11, align="centre")
    head = ("Date", "Truck", "Start", "End", "Driving h", "On duty h", "Rest before h", "Route")
    days = [
        ("11/03/2022", "31", "05:02", "15:20", "7.50", "10.30", "13.40", "Fremont - Tracy - Fremont"),
        ("11/04/2022", "31", "04:58", "15:44", "8.25", "10.77", "13.63", "Fremont - Stockton - Fremont"),
        ("11/07/2022", "28", "06:00", "14:10", "5.75", "8.17", "62.27", "Fremont - Hayward - Fremont"),
        ("11/08/2022", "31", "05:05", "16:31", "8.50", "11.43", "14.92", "Fremont - Tracy - Fremont"),
        ("11/09/2022", "31", "05:00", "16:02", "8.25", "11.03", "12.48", "Fremont - Stockton - Fremont"),
        ("11/10/2022", "31", "04:51", "16:40", "9.00", "11.82", "12.82", "Fremont - Modesto - Fremont"),
        ("11/14/2022", "31", "05:00", "17:15", "9.50", "12.25", "84.33", "Fremont - Modesto - Fremont"),
        ("11/15/2022", "31", "04:40", "17:58", "10.25", "13.30", "11.42", "Fremont - Tracy - Modesto"),
        ("11/16/2022", "31", "04:35", "16:48", "8.97", "12.22", "10.62", "Fremont - Tracy - Harbor Mesa"),
        ("Total", "", "", "", "75.97", "101.29", "", ""),
    ]
    widths = [84, 52, 58, 58, 74, 78, 96, 196]
    y = table(sheet, 104, widths, [head, *days], height=24, size=10.5, figures=frozenset({4, 5, 6}))
    sheet.write(48, y + 24, "Prepared March 21, 2024, by Orla Penderwick, Payroll.", role="sans", size=10.5)
    return sheet


def _gate_register(fonts: Fonts) -> Sheet:
    """A typewritten list that went through the scanner sideways."""
    sheet = Sheet(fonts)
    sheet.write(306, 80, "FREMONT YARD - GATE REGISTER", role="mono-bold", size=14, align="centre")
    sheet.write(306, 100, "WEDNESDAY, NOVEMBER 16, 2022", role="mono", size=12, align="centre")
    role: Role = "mono-bold"
    y = 140.0
    for row in (
        ("OUT", "IN", "TRUCK", "DRIVER", "SEAL"),
        ("04:41", "15:12", "12", "DAGNALL", "50117"),
        ("04:58", "14:20", "28", "OSPRINGE", "50118"),
        ("05:10", "-", "31", "HALVERING", "50119"),
        ("05:32", "16:05", "17", "TREVELLICK", "50120"),
        ("06:15", "13:48", "22", "QUORNDON", "50121"),
        ("07:03", "17:30", "09", "WESTERHOPE", "50122"),
    ):
        for place, (x, text) in enumerate(zip((80, 165, 250, 335, 470), row, strict=True)):
            sheet.write(x, y, text, role=role, size=12, beside=place > 0)
        role = "mono"
        y += 24
    flow = Flow(sheet, left=80, right=530, y=y + 30, leading=18)
    flow.para("Truck 31 did not return. Towed to Harbor Mesa impound lot, reported by telephone at 19:20.", role="mono")
    flow.para("Night watch: P. Eddowes-Lyle", role="mono")
    return sheet


def _invoice(fonts: Fonts) -> Sheet:
    sheet = Sheet(fonts)
    sheet.write(60, 76, "HOLLOWAY BEND TRUCK SERVICE", role="sans-bold", size=16)
    sheet.write(60, 92, "14 Cinder Lane, Fremont, California 94500", role="sans", size=10.5)
    sheet.write(552, 76, "INVOICE", role="sans-bold", size=18, align="right")
    sheet.rule(60, 102, 552, 102, thickness=1.5)
    for line_y, left, right in (
        (126, "Bill to: Wexmoor Logistics, Inc.", "Invoice No. 20-6683"),
        (142, "Accounts Payable", "Date: October 24, 2022"),
        (158, "Fremont, California 94500", "Terms: Net 30"),
    ):
        sheet.write(60, line_y, left, role="sans", size=11)
        sheet.write(380, line_y, right, role="sans", size=11, beside=True)
    rows = [
        ("Qty", "Description", "Unit price", "Amount"),
        ("1", "Brake inspection, truck 31, 117,350 miles", "185.00", "185.00"),
        ("2", "Brake lining, rear axle", "94.50", "189.00"),
        ("1", "Slack adjuster, left rear", "61.75", "61.75"),
        ("3", "Labor, hours", "120.00", "360.00"),
    ]
    y = table(sheet, 184, [48, 264, 90, 90], rows, left=60, height=24, size=11, figures=frozenset({2, 3}))
    for label, amount in (("Subtotal", "795.75"), ("Sales tax", "26.45"), ("TOTAL DUE", "$822.20")):
        y += 20
        sheet.write(462, y, label, role="sans-bold", size=11, align="right")
        sheet.write(547, y, amount, role="sans-bold", size=11, align="right", beside=True)
    flow = Flow(sheet, left=60, right=552, y=y + 40, size=11, leading=16)
    flow.para("Rear linings were worn to 4 mm. Recheck advised before December 1, 2022.", role="sans")
    flow.para("Thank you for your business.", role="sans")
    return sheet


def _service(fonts: Fonts) -> Sheet:
    flow = Flow(Sheet(fonts), y=84, leading=18)
    flow.line("PROOF OF ELECTRONIC SERVICE", role="serif-bold", align="centre")
    flow.line(f"Case No. {STATE_CASE}", align="centre")
    flow.gap()
    flow.para(
        "I am employed in the County of Alameda and am not a party to this action. My business address is 305 "
        "Tidewater Plaza, San Leandro, California 94500. On April 3, 2024, I served the foregoing declaration with "
        "Exhibits A to C on Dana R. Ostermoor, counsel for Plaintiff, at d.ostermoor@ostermoor.example.",
        indent=36,
    )
    flow.para(
        "I declare under penalty of perjury under the laws of the State of California that the foregoing is true and "
        "correct. Executed on April 3, 2024, at San Leandro, California.",
        indent=36,
    )
    flow.gap()
    flow.left = 300
    flow.lines("/s/ Juniper Oakshaw", "Juniper Oakshaw")
    return flow.sheet


def _declaration(fonts: Fonts) -> list[Sheet]:
    """The two pages of pleading paper to which the exhibits are attached."""
    footer = "DECLARATION OF CASEY MARLINGTON IN OPPOSITION TO MOTION TO COMPEL"
    first = Pleading(fonts, page=1, footer=footer)
    first.row("Casey Marlington (SBN 990822)", right="ELECTRONICALLY FILED", right_role="sans-bold", right_size=9)
    first.row("MARLINGTON GREAVES LLP", right="Superior Court of California,", right_role="sans", right_size=9)
    first.row("305 Tidewater Plaza", right="County of Alameda", right_role="sans", right_size=9)
    first.row("San Leandro, California 94500", right="04/03/2024 at 04:18:55 PM", right_role="sans", right_size=9)
    first.row("Attorneys for Defendants", right="By: J. Sallowfield, Deputy Clerk", right_role="sans", right_size=9)
    first.row()
    first.rows(*STATE_COURT, align="centre", role="serif-bold")
    first.row()
    first.caption(
        [
            ("AVERY PELLWORTH, an individual,", f"Case No. {STATE_CASE}"),
            ("Plaintiff,", "DECLARATION OF CASEY"),
            ("v.", "MARLINGTON IN OPPOSITION TO"),
            ("WEXMOOR LOGISTICS, INC.;", "MOTION TO COMPEL FURTHER"),
            ("ROWAN HALVERING; and DOES 1", "RESPONSES; EXHIBITS A TO C"),
            ("through 10, inclusive,", "Hearing: April 16, 2024, 9:00 a.m."),
            ("Defendants.", "Dept.: 17"),
        ]
    )
    first.row()
    first.para("I, Casey Marlington, declare:")
    first.para(
        "1.  I am an attorney admitted in this State and counsel for Defendants Wexmoor Logistics, Inc. and Rowan "
        "Halvering. I know the following of my own knowledge."
    )
    first.para(
        "2.  Attached as Exhibit A are true copies of the driver’s log of November 16, 2022, and of an internal "
        "message of the following day, produced on March 21, 2024."
    )
    first.para(
        "3.  The log is a form that every driver fills in by hand or by typewriter at the end of the day and leaves in "
        "the dispatch office."
    )
    second = Pleading(fonts, page=2, footer=footer)
    second.para(
        "4.  Attached as Exhibit B is a table of the hours that Mr. Halvering worked in the two weeks before the "
        "collision, prepared at my direction from the payroll records, and a page of the yard’s gate register."
    )
    second.para(
        "5.  Attached as Exhibit C is the invoice for the brake inspection of truck 31, dated October 24, 2022."
    )
    second.para(
        "6.  The search for these papers took three employees of Wexmoor four working days, since the records of the "
        "Fremont yard for 2022 had been boxed and moved to a warehouse in Tracy. I supervised it. No other paper that "
        "answers to the four interrogatories was found, and I am told by the safety manager that there is none."
    )
    second.para(
        "7.  With these papers Interrogatories Nos. 4, 7, 11 and 12 are answered. On March 22, 2024, I asked counsel "
        "for Plaintiff to take the motion off calendar. I have had no reply."
    )
    second.para(
        "I declare under penalty of perjury under the laws of the State of California that the foregoing is true and "
        "correct. Executed on April 2, 2024, at San Leandro, California."
    )
    second.row()
    second.row(right="/s/ Casey Marlington", right_x=330)
    second.row(right="Casey Marlington", right_x=330)
    return [first.end(), second.end()]
