"""What never was a court filing: a lawyer's letter, a settlement, a police report, a hospital's record. All made up."""

from __future__ import annotations

from aseagi_tasks.samples.drawing import Sheet
from aseagi_tasks.samples.filings import STATE_CASE
from aseagi_tasks.samples.fonts import Fonts
from aseagi_tasks.samples.layouts import Flow, cells, heading


def letter(fonts: Fonts) -> list[Sheet]:
    """A meet-and-confer letter on a firm's letterhead, two pages."""
    first = Sheet(fonts)
    first.write(306, 66, "OSTERMOOR & VANCE LLP", role="serif-bold", size=20, align="centre")
    first.write(306, 82, "Attorneys at Law", role="serif-italic", size=12, align="centre")
    first.write(
        306, 97, "1188 Lantern Street, Suite 400, Oakland, California 94600", role="serif", size=10.5, align="centre"
    )
    first.rule(72, 106, 540, 106, thickness=1.2)
    flow = Flow(first, y=136, leading=15.5)
    flow.line("February 6, 2024")
    flow.gap()
    flow.line("BY MAIL AND ELECTRONIC MAIL", role="serif-bold")
    flow.gap(0.5)
    flow.lines("Casey Marlington", "Marlington Greaves LLP", "305 Tidewater Plaza", "San Leandro, California 94500")
    flow.gap()
    flow.line("Re:  Pellworth v. Wexmoor Logistics, Inc., et al.", role="serif-bold")
    flow.line(f"Case No. {STATE_CASE}", role="serif-bold")
    flow.gap()
    flow.line("Dear Counsel:")
    flow.gap(0.5)
    flow.para(
        "We write about your client’s responses of January 9, 2024, to Plaintiff’s Special Interrogatories, Set One. "
        "We hope that this letter will make a motion unnecessary."
    )
    flow.para(
        "Interrogatory No. 4 asks for the name of the person who dispatched truck 31 on November 16, 2022. Your client "
        "objects that the word “dispatched” is vague. It is the word that your client prints on its own route "
        "sheets. Please give us the name."
    )
    flow.para(
        "Interrogatory No. 7 asks how many hours Mr. Halvering had worked in the fourteen days before the collision. "
        "The answer that “discovery is continuing” is no answer. Payroll records will show it."
    )
    flow.para(
        "Interrogatories Nos. 11 and 12 ask for the telematics readings of the last mile and for the date of the last "
        "brake inspection. Your safety manager testified on January 18 that both can be printed in an afternoon."
    )
    flow.para(
        "None of the four questions is burdensome. Together they call for one name, one table of hours, one page of "
        "readings and one date. We do not understand how they can be called vague or overbroad, and your client’s "
        "objections do not say."
    )
    flow.para(
        "The responses were not verified either. Unverified responses are tantamount to no responses at all, and the "
        "time to cure that has passed."
    )
    second = Sheet(fonts)
    flow = Flow(second, y=72, leading=15.5)
    flow.lines("Casey Marlington", "February 6, 2024", "Page 2")
    flow.gap()
    flow.para(
        "Please serve further responses, verified and without objection, by February 20, 2024. If you need more time, "
        "call me and we will agree on a date, provided that you extend our time to move to compel by as much."
    )
    flow.para(
        "If we have not heard from you by then, we will move under section 2030.300 of the Code of Civil Procedure and "
        "ask for sanctions."
    )
    flow.para(
        "One matter more. The telematics unit writes over its memory. Please confirm by return that the data of unit "
        "KF-20873 for November 2022 have been copied and will be kept until the case is over, and with them:"
    )
    for item in (
        "(a)  route sheets, dispatch logs and messages of November 14 to 17, 2022;",
        "(b)  the driver’s daily logs and time cards from November 3, 2022, on;",
        "(c)  inspection and repair invoices for truck 31 since January 1, 2022;",
        "(d)  photographs of the truck taken at the impound lot.",
    ):
        flow.para(item, inset=28)
    flow.para("I can be reached at (510) 555-0142 on any weekday before noon.")
    flow.gap(0.5)
    flow.left = 306
    flow.line("Very truly yours,")
    second.sign(310, flow.y + 26, 140, seed=3)
    flow.gap(3)
    flow.lines("Dana R. Ostermoor", "OSTERMOOR & VANCE LLP")
    flow.left = 72
    flow.gap()
    flow.lines("DRO/lf", "cc: Avery Pellworth")
    return [first, second]


def settlement(fonts: Fonts) -> list[Sheet]:
    """A settlement agreement of two pages, under the line that a fax machine prints."""
    sheets = [Sheet(fonts), Sheet(fonts)]
    for number, sheet in enumerate(sheets, 1):
        sheet.write(40, 24, "FEB-21-2024 WED 02:07 PM", role="mono-bold", size=10)
        sheet.write(232, 24, "QUILLANDER PROPERTY", role="mono-bold", size=10, beside=True)
        sheet.write(384, 24, "FAX: 916 555 0187", role="mono-bold", size=10, beside=True)
        sheet.write(572, 24, f"P. 0{number}", role="mono-bold", size=10, align="right", beside=True)
    flow = Flow(sheets[0], y=84, size=12.5, leading=17)
    flow.line("SETTLEMENT AGREEMENT AND MUTUAL RELEASE", role="serif-bold", align="centre")
    flow.gap()
    flow.para(
        "This Agreement is made on February 21, 2024, between QUILLANDER PROPERTY GROUP LLC (“Landlord”) and IMOGEN "
        "VANTRESS (“Tenant”), who are the parties to an action in the Superior Court of California, County of "
        "Sacramento, Case No. 24UD000512."
    )
    flow.para(
        "1.  PREMISES. Tenant occupies the dwelling at 52 Larkmeadow Court, Unit 3, Sacramento, under a lease dated "
        "June 1, 2021."
    )
    flow.para(
        "2.  PAYMENT. Tenant will pay Landlord $3,150.00 in three equal parts, on March 1, April 1 and May 1, 2024, by "
        "cashier’s check."
    )
    flow.para(
        "3.  REPAIRS. Landlord will replace the water heater and the kitchen window on or before March 15, 2024. If it "
        "does not, each payment is put off by thirty days."
    )
    flow.para(
        "4.  POSSESSION. Tenant may stay until August 31, 2024. The lease then ends without further notice, and Tenant "
        "will return all keys."
    )
    flow.para(
        "5.  DISMISSAL. Within five court days of the last payment Landlord will dismiss the case with prejudice. The "
        "court keeps jurisdiction to enforce this Agreement."
    )
    flow.para(
        "6.  DEFAULT. If a payment is more than five days late, Landlord may apply for judgment for what is unpaid, on "
        "three court days’ notice to Tenant by telephone and mail."
    )
    flow.para(
        "7.  NO ADMISSION. This Agreement settles disputed claims. Nothing in it is an admission by either party, and "
        "it may not be used in evidence except to enforce it."
    )
    flow = Flow(sheets[1], y=84, size=12.5, leading=17)
    flow.para(
        "8.  RELEASE. Each party releases the other from all claims about rent, deposit and condition of the Premises "
        "up to the date of this Agreement, save for the duties that it creates."
    )
    flow.para(
        "9.  DEPOSIT. The deposit of $1,400.00 will be accounted for within twenty-one days after Tenant has left."
    )
    flow.para(
        "10.  REFERENCES. If asked by another owner, Landlord will give the dates of the tenancy and the rent, and "
        "nothing else."
    )
    flow.para(
        "11.  COSTS. Each party bears its own costs and attorney’s fees. In a proceeding to enforce this Agreement the "
        "party that prevails recovers them, up to $1,500.00."
    )
    flow.para(
        "12.  WHOLE AGREEMENT. This is the whole agreement. It may be changed only in a writing that both parties "
        "sign. A copy sent by fax is as good as the original."
    )
    flow.gap()
    for seed, (party, name) in enumerate(
        (
            ("LANDLORD: QUILLANDER PROPERTY GROUP LLC", "By: Bram Quillander, Managing Member"),
            ("TENANT:", "Imogen Vantress"),
        )
    ):
        flow.line(party, role="serif-bold")
        flow.gap(2)
        sheets[1].sign(80, flow.y - 8, 150, seed=seed)
        sheets[1].rule(72, flow.y - 4, 320, flow.y - 4)
        flow.gap(0.7)
        flow.lines(name, "Date: February 21, 2024")
        flow.gap(1.5)
    return sheets


def police_report(fonts: Fonts) -> Sheet:
    """A collision report: boxes filled in by typewriter, and a narrative."""
    sheet = Sheet(fonts)
    sheet.write(306, 44, "HARBOR MESA POLICE DEPARTMENT", role="sans-bold", size=15, align="centre")
    sheet.write(306, 61, "TRAFFIC COLLISION REPORT", role="sans-bold", size=12.5, align="centre")
    y = cells(
        sheet,
        70,
        [
            (140, "CASE NUMBER", "22-118407"),
            (130, "DATE OF INCIDENT", "11/16/2022"),
            (120, "TIME (24 HR)", "1648"),
            (150, "DATE OF REPORT", "11/17/2022"),
        ],
    )
    y = cells(
        sheet,
        y,
        [(270, "LOCATION", "LANTERN ST AT 9TH AVE"), (120, "BEAT", "14-C"), (150, "WEATHER / LIGHT", "CLEAR / DUSK")],
    )
    y = cells(
        sheet,
        y,
        [
            (270, "REPORTING OFFICER", "OFC. T. MARROWSTONE"),
            (120, "BADGE NO.", "4471"),
            (150, "SUPERVISOR", "SGT. I. KELLBRIDGE"),
        ],
    )
    for label, person in (
        (
            "PARTY 1 - DRIVER",
            (
                ("HALVERING, ROWAN D.", "04/22/1985", "D9904178"),
                ("2210 GANTRY ROAD, FREMONT", "510-555-0166", "NONE"),
                ("2019 BOX TRUCK, WHITE", "9XQ4410", "WEXMOOR LOGISTICS, INC."),
            ),
        ),
        (
            "PARTY 2 - DRIVER",
            (
                ("PELLWORTH, AVERY J.", "08/09/1991", "F9927730"),
                ("64 TULE COURT, APT 2, OAKLAND", "510-555-0121", "WRIST, NECK PAIN"),
                ("2016 SEDAN, BLUE", "8PLW207", "SAME AS DRIVER"),
            ),
        ),
    ):
        y = heading(sheet, y + 6, label)
        top, middle, bottom = person
        y = cells(
            sheet,
            y,
            [
                (270, "NAME (LAST, FIRST, MIDDLE)", top[0]),
                (120, "DATE OF BIRTH", top[1]),
                (150, "LICENSE NO.", top[2]),
            ],
        )
        y = cells(sheet, y, [(270, "ADDRESS", middle[0]), (120, "TELEPHONE", middle[1]), (150, "INJURIES", middle[2])])
        y = cells(
            sheet,
            y,
            [(200, "VEHICLE", bottom[0]), (120, "PLATE", bottom[1]), (220, "REGISTERED OWNER", bottom[2])],
        )
    y = heading(sheet, y + 6, "WITNESS")
    y = cells(
        sheet,
        y,
        [
            (270, "NAME", "SORRELGATE, MAE"),
            (120, "TELEPHONE", "510-555-0109"),
            (150, "POSITION", "BUS STOP, SW CORNER"),
        ],
    )
    y = heading(sheet, y + 6, "NARRATIVE")
    sheet.box(36, y, 540, 252)
    flow = Flow(sheet, left=44, right=568, y=y + 17, size=10.5, leading=15.2)
    for text in (
        "I WAS DISPATCHED AT 1651 AND ARRIVED AT 1658. P-1 WAS NORTHBOUND ON LANTERN ST. P-2 WAS EASTBOUND ON 9TH AVE "
        "AND STATED THAT HER LIGHT WAS GREEN.",
        "P-1 STATED THAT THE SUN WAS IN HIS EYES AND THAT HE DID NOT SEE THE SIGNAL CHANGE. HE STATED THAT HE HAD BEEN "
        "ON DUTY SINCE 0435.",
        "WITNESS SORRELGATE STATED THAT THE TRUCK ENTERED ON RED ABOUT TWO SECONDS AFTER THE CROSS TRAFFIC HAD "
        "STARTED.",
        "I MEASURED 61 FEET OF SKID FROM THE LIMIT LINE. SIGNALS WERE CHECKED AND FOUND WORKING. P-1 WAS CITED FOR "
        "21453(A) VC. BOTH VEHICLES WERE TOWED.",
        "P-2 COMPLAINED OF PAIN AND WAS TAKEN TO HARBOR MESA GENERAL HOSPITAL BY AMBULANCE, UNIT 6. NO FURTHER ACTION. "
        "FORWARDED TO TRAFFIC DIVISION.",
    ):
        flow.para(text, role="mono")
    y = cells(sheet, y + 252, [(270, "OFFICER SIGNATURE", ""), (120, "DATE", "11/17/2022"), (150, "PAGE", "1 OF 1")])
    sheet.sign(130, y - 5, 110, seed=5)
    return sheet


def discharge_summary(fonts: Fonts) -> list[Sheet]:
    """A hospital's record: the printed sides of two sheets."""
    sheets = [Sheet(fonts), Sheet(fonts)]
    for number, sheet in enumerate(sheets, 1):
        sheet.write(72, 62, "HARBOR MESA GENERAL HOSPITAL", role="sans-bold", size=14)
        sheet.write(540, 62, f"Page {number} of 2", role="sans", size=10, align="right", beside=True)
        sheet.write(72, 78, "Emergency Department", role="sans", size=11)
        sheet.rule(72, 86, 540, 86, thickness=1.5)
    flow = Flow(sheets[0], y=112, size=11.5, leading=16.5)
    flow.line("DISCHARGE SUMMARY", role="sans-bold", align="centre")
    flow.gap(0.5)
    for left, right in (
        ("Patient: Avery J. Pellworth", "MRN: 00-77-4193"),
        ("Date of birth: August 9, 1991", "Date of visit: November 16, 2022"),
        ("Attending: Ines Callowmere, M.D.", "Discharged: 9:40 PM"),
    ):
        flow.sheet.write(72, flow.y, left, role="sans", size=11.5)
        flow.sheet.write(310, flow.y, right, role="sans", size=11.5, beside=True)
        flow.y += flow.leading
    flow.gap(0.6)
    for title, text in (
        (
            "CHIEF COMPLAINT",
            "Neck and left wrist pain after a motor vehicle collision at about 4:48 PM today.",
        ),
        (
            "HISTORY",
            "The patient was the belted driver of a sedan struck on the left front by a box truck. The airbag "
            "deployed. There was no loss of consciousness. She walked at the scene and was brought in by ambulance.",
        ),
        (
            "EXAMINATION",
            "Blood pressure 128/82, pulse 88, temperature 98.4 F. Alert and oriented. Tenderness over the left side of "
            "the neck without midline pain. Swelling of the left wrist; grip is weak from pain. Sensation is intact.",
        ),
        (
            "IMAGING",
            "Cervical spine, three views: no fracture. Left wrist, three views: nondisplaced fracture of the distal "
            "radius.",
        ),
        (
            "PAST HISTORY",
            "No earlier injury of the neck or wrist. Tonsillectomy as a child. No regular medicines. Allergic to "
            "penicillin (rash). Does not smoke. Works as a bookbinder and is right-handed.",
        ),
        (
            "COURSE",
            "The patient was watched for four hours. Pain fell from 7 to 3 out of 10 with splint and medicine. She "
            "walked without help, ate, and was steady. A second examination at 8:50 PM showed no change in sensation "
            "or pulses.",
        ),
    ):
        flow.line(title, role="sans-bold")
        flow.para(text, role="sans")
    flow = Flow(sheets[1], y=112, size=11.5, leading=16.5)
    for title, texts in (
        ("DIAGNOSIS", ("1. Fracture of the left distal radius, closed.", "2. Strain of the neck.")),
        ("TREATMENT", ("A short arm splint was applied. Ibuprofen 600 mg was given at 7:15 PM.",)),
        (
            "INSTRUCTIONS",
            (
                "Keep the splint dry and the arm raised. Use ice for twenty minutes, four times a day.",
                "See an orthopedic surgeon within five days. No lifting with the left hand.",
                "Return at once for numbness, a cold hand, severe headache or vomiting.",
            ),
        ),
        ("MEDICATIONS", ("Ibuprofen 600 mg by mouth every eight hours with food, as needed, for seven days.",)),
        (
            "FOLLOW-UP",
            (
                "Orthopedic clinic, second floor, telephone (510) 555-0177. Appointment: November 21, 2022, 10:15 AM.",
                "A note for the employer was given: no work until seen in the clinic.",
            ),
        ),
        ("CONDITION AT DISCHARGE", ("Stable. The patient left on foot with her brother.",)),
    ):
        flow.line(title, role="sans-bold")
        for text in texts:
            flow.para(text, role="sans")
    flow.gap()
    flow.sheet.sign(80, flow.y + 10, 130, seed=8)
    flow.gap(1)
    flow.sheet.rule(72, flow.y, 300, flow.y)
    flow.gap(0.9)
    flow.lines("Ines Callowmere, M.D.", "Signed November 16, 2022, 9:31 PM", role="sans")
    return sheets
