"""What can go wrong, as a tree; every class says what is wrong and what cures it.

    AseagiError              exit code 1
    ├ TransientError   4     retried: RateLimited, StorageUnavailable, RecordsUnavailable, AnalystUnavailable,
    │                        OutOfMemory, DiskFull, QueueFull, FleetUnavailable; waited for without limit:
    │                        BudgetExceeded (CapReached: a bulk run's), NotSetUp
    ├ DocumentError    3     final for this document: NotADocument, NotFound, Altered, Encrypted, TooLarge, NoPages,
    │                        Unreadable, Refused, Quarantined, NotACertificate, Differs, UnknownCase,
    │                        NothingToReport, Overtaken; BackupDamaged: it, or its manifest, is not what it was;
    │                        NotOurs: another machine has it; NotAKey; OriginalGone
    ├ NotAdmitted      1     a rented machine did not get in, or not what it asked for: NotInvited, BadRequest,
    │                        Malformed, EnrolmentRefused, StepFailed, Stopped
    ├ FleetError       7     may carry an instance_id, which is to be destroyed: OfferGone, CreateUnresolved,
    │                        NoSuchInstance
    ├ BulkRefused      2     a bulk run that cannot be begun so, or moved from where it is
    ├ Cancelled        6     somebody asked for the job to stop
    └ ConfigError      5     at start: names the variable and the cure

Every argument goes to ``super().__init__`` positionally and is formatted in ``__str__``: Celery's result
backend stores ``exc.args`` and rebuilds the error from them, so an error formatted in ``__init__`` would not survive.
"""

from __future__ import annotations


class AseagiError(Exception):
    """Root of the tree. ``exit_code`` is what the command line leaves with."""

    exit_code = 1
    #: ``str.format`` template over ``args``; a class without one joins its arguments.
    template = ""
    #: what is to be done where it ended documents; reports say it once for all of them
    cure = "`aseagi show ID` has the history of one, the worker's log the rest; `aseagi retry ID` tries again."

    def __init__(self, *args: object) -> None:
        super().__init__(*args)

    def __str__(self) -> str:
        if self.template:
            try:
                return self.template.format(*self.args)
            except IndexError:  # rebuilt from a truncated result: say what is left
                pass
        return " ".join(str(arg) for arg in self.args)


class TransientError(AseagiError):
    """Tried again with back-off; final only when the tries are used up."""

    exit_code = 4
    cure = "All tries were used up. `aseagi doctor` says what does not answer; then `aseagi retry ID`."


class RateLimited(TransientError):
    """Args: service, retry_after_s (float, 0 when the service did not say)."""

    template = "{0} asks us to slow down (retry after {1:g} s)."

    @property
    def retry_after_s(self) -> float:
        """How long the service wants to be left alone."""
        return float(self.args[1])


class StorageUnavailable(TransientError):
    """Args: what was tried, the provider's words."""

    template = "Storage did not answer while {0}: {1}"


class RecordsUnavailable(TransientError):
    """Args: what was tried, the database's words."""

    template = "The records did not answer while {0}: {1}"


class AnalystUnavailable(TransientError):
    """Args: model, the provider's words."""

    template = "{0} did not answer: {1}"


class BudgetExceeded(TransientError):
    """Waits without limit: for the next UTC day, or for a larger limit.

    Args: what it is for, USD wanted, limit in USD, the setting that holds the limit.
    """

    template = "{0} may cost {1:.4f} USD, and {3} leaves no room for that (it is {2:g} USD)."


class CapReached(BudgetExceeded):
    """Args: what it is for, USD wanted, the run's id. Its run ends it; the next run takes it up again."""

    template = "{0} may cost {1:.4f} USD, and the cap of run {2} leaves no room for that."


class NotSetUp(TransientError):
    """A service refuses us, not the document: work waits until it is put right.

    Args: setting, what is wrong, the cure.
    """

    exit_code = 5
    template = "{0}: {1} {2}"


class FleetUnavailable(TransientError):
    """Args: what was tried, the provider's words. Nothing was changed there."""

    template = "Vast.ai did not answer while {0}: {1}"


class OutOfMemory(TransientError):
    """Args: what did not fit."""

    template = "Out of memory: {0}"


class DiskFull(TransientError):
    """Args: folder, megabytes that are left, megabytes that are wanted, setting that names the folder or the limit."""

    template = "No room for new documents in {0}: {1} MB left, {2} MB wanted. Free some, or set {3}."


class QueueFull(TransientError):
    """Args: megabytes that Redis uses, megabytes that it may use."""

    template = (
        "Redis is full: {0} of {1} MB. Wait, or set ASEAGI_REDIS_MAX_MB; `aseagi process` queues documents "
        "without taking room in Redis."
    )


class DocumentError(AseagiError):
    """Final for this document; the queue goes on."""

    exit_code = 3


class NotADocument(DocumentError):
    """Args: file name, what it is instead."""

    template = "{0} is not a document this can read: {1}. PDF, JPG, PNG, TIFF and HEIC are read."
    cure = "Send PDF, JPG, PNG, TIFF or HEIC; print anything else to PDF."


class NotFound(DocumentError):
    """Args: source or id, where it was looked for."""

    template = "{0} was not found in {1}."
    cure = "The file was moved or removed after it was named. Hand it in again where it is."


class NotAKey(NotFound):
    """Args: what was given, why it is none, the cure."""

    template = "{0} is no key here: {1}. {2}"
    cure = "The message says what is wrong with the file's name. Rename the file in the bucket."


class OriginalGone(NotFound):
    """Nothing was removed with it: facts, text and published files stay. Args: file name, key."""

    template = (
        "The original of {0} is not at {1} any more. Put it back there, or hand a copy of it in (`aseagi process"
        " FILE`); if it was moved, process it where it is now. `aseagi missing` lists all such documents."
    )
    cure = "Originals were moved or removed by other programs. `aseagi missing` lists them, and says what to do."


class NotOurs(NotFound):
    """A rented machine was refused a job: another works on it, or it has ended. Whoever has it goes on."""


class Altered(DocumentError):
    """Args: file name, key."""

    template = "{0} has changed since it was taken in: the bytes at {1} are not those registered. Send it again."
    cure = "The bytes at its key were changed after intake. Send the file again; it is another document then."


class Encrypted(DocumentError):
    """Args: file name."""

    template = "{0} is locked with a password. Save a copy without the password and send that."
    cure = "Save a copy without the password and send that."


class TooLarge(DocumentError):
    """Args: file name, measured (with unit), limit (with unit), setting that holds the limit."""

    template = "{0} is too large: {1}, and the limit is {2} ({3})."
    cure = "Split the file, or raise the limit that the message names."


class NoPages(DocumentError):
    """Args: file name."""

    template = "{0} has no pages."
    cure = "The file has no pages. Export or scan it again."


class Unreadable(DocumentError):
    """Args: file name, what failed."""

    template = "{0} could not be read: {1}. If it opens elsewhere, print it to PDF and send that."
    cure = "If it opens elsewhere, print it to PDF and send that; else ask for another copy."


class Refused(DocumentError):
    """Args: who refused, why."""

    template = "{0} refused this document: {1}"
    cure = "Claude refused these. `ASEAGI_ANALYST=rules` finds facts without it; then `aseagi retry ID`."


class Overtaken(DocumentError):
    """Args: file name."""

    template = "{0} was published anew by another job since this one took its reading; what that found stays."


class Quarantined(DocumentError):
    """Args: stage, how many workers died."""

    template = (
        "Stage {0}: {1} workers died, one after the other; the document is set aside. `aseagi retry` tries again."
    )
    cure = "Each ended three workers, most often for want of memory. Look at the file first, then `aseagi retry ID`."


class NotACertificate(DocumentError):
    """Args: file name or key, what is wrong."""

    template = "{0} is no completeness certificate: {1}. Give the .json file that `aseagi certificate` wrote."


class Differs(DocumentError):
    """Args: certificate, how many differences."""

    template = (
        "{0} does not hold: {1} differences, named above. Bring back what is missing or altered from a copy of the"
        " bucket, or process it again (`aseagi process --again`) and make a new certificate."
    )


class UnknownCase(DocumentError):
    """Args: case number, the cure: numbers like it, or how to find one."""

    template = "No document has case number {0}. {1}"


class NothingToReport(DocumentError):
    """Args: span, the cure: where there is something."""

    template = "Nothing was processed and nothing spent {0}. {1}"


class BackupDamaged(DocumentError):
    """Args: key, what is wrong, the cure."""

    template = "{0}: {1} {2}"


class NotAdmitted(AseagiError):
    """A rented machine did not get in, or not what it asked for, and will not if it asks again."""


class NotInvited(NotAdmitted):
    """No such invitation, or another key has used it, or it is over."""

    template = "This token is unknown, used up or too old."


class BadRequest(NotAdmitted):
    """A signing request that is not signed. Args: why."""

    template = "This certificate request is refused: {0}."


class Malformed(NotAdmitted):
    """Args: method, what is wrong."""

    template = "This is no call of {0}: {1}"


class EnrolmentRefused(NotAdmitted):
    """The control plane said no, and will say it again. Args: what was asked, its words."""

    template = "The control plane refused {0}: {1}"


class StepFailed(NotAdmitted):
    """A machine could not join. Args: step, what went wrong."""

    template = "Step {0} failed: {1}"


class Stopped(NotAdmitted):
    """Somebody wants a machine to leave while it joins. Args: who."""

    template = "{0} stopped it."


class FleetError(AseagiError):
    """Args: what was tried, the provider's words, the id of an instance that it may have left behind, or None."""

    exit_code = 7
    template = "Failed while {0}: {1}"

    @property
    def instance_id(self) -> str | None:
        """An instance that may be billed: destroy it."""
        left = self.args[2] if len(self.args) > 2 else None
        return None if left is None else str(left)


class OfferGone(FleetError):
    """Args: what was tried, the provider's words, None. Somebody else was faster: take the next offer."""


class NoSuchInstance(FleetError):
    """Args: what was tried, the provider's words, None."""


class CreateUnresolved(FleetError):
    """Args: the label, the provider's words, None. It may be there, billed and not yet listed: look for its label."""

    template = "Whether Vast.ai created {0} is not known: {1}"


class BulkRefused(AseagiError):
    """Args: the run or prefix, its status or what it is, what was asked and what can be done."""

    exit_code = 2
    template = "{0} is {1}: {2}"

    @property
    def run_id(self) -> str:
        """The run, or the prefix of one that was not begun."""
        return str(self.args[0])


class Cancelled(AseagiError):
    """Args: job id."""

    exit_code = 6
    template = "Job {0} was cancelled."


class ConfigError(AseagiError):
    """Args: the variable or dependency, what is wrong, the cure."""

    exit_code = 5
    template = "{0}: {1} {2}"


def by_name(name: str) -> type[AseagiError]:
    """The class of that name, or AseagiError: the records keep class names, doors need exit codes."""
    pending = [AseagiError]
    while pending:
        cls = pending.pop()
        if cls.__name__ == name:
            return cls
        pending.extend(cls.__subclasses__())
    return AseagiError
