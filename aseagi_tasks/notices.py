"""What operators are told, in English and Spanish. How it reaches them is in ``notify.py``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

#: What operators are told, in English and Spanish. What an error says stays English: it names settings and commands.
NOTICES: dict[str, tuple[str, str]] = {
    "budget": (
        "Documents wait. {what} may cost {usd:.4f} USD, and {setting} leaves no room for that (it is {limit:g} USD).",
        "Hay documentos en espera. {what} puede costar {usd:.4f} USD y {setting} no lo permite (es de {limit:g} USD).",
    ),
    "budget_spent": (
        "Documents wait. The day's budget for Claude ({setting}={limit:g}) is spent.",
        "Hay documentos en espera. El presupuesto del día para Claude ({setting}={limit:g}) está agotado.",
    ),
    "waits": ("Documents wait. {why}", "Hay documentos en espera. {why}"),
    "quarantine": ("Job {job_id} is set aside. {why}", "El trabajo {job_id} queda apartado. {why}"),
    "no_machine": (
        "No machine is rented, {documents} documents ({pages} pages) wait. {why}",
        "No se alquila ninguna máquina y esperan {documents} documentos ({pages} páginas). {why}",
    ),
    "fleet_trouble": (
        "Machines could not be rented or looked after {times} times in a row; it is tried again and again. {why}",
        "{times} veces seguidas no se pudo alquilar o atender máquinas; se sigue intentando. {why}",
    ),
    "never_created": (
        "{times} launches of the last hour came to nothing; it is tried again and again. {why}",
        "{times} arranques de la última hora no dieron nada; se sigue intentando. {why}",
    ),
    "fleet_config": ("Nothing is rented or destroyed: {why}", "No se alquila ni se destruye nada: {why}"),
    "vanished": (
        "Instance {instance} ({gpu}) is gone, and nobody destroyed it.",
        "La máquina {instance} ({gpu}) desapareció y nadie la destruyó.",
    ),
    "orphan": (
        "Instance {instance} carries our label and is not ours; it is destroyed.",
        "La máquina {instance} lleva nuestra etiqueta y no es nuestra; se destruye.",
    ),
    "given_back": (
        "Machine {machine} ({gpu}) is given back: {why}.",
        "La máquina {machine} ({gpu}) se devuelve: {why}.",
    ),
    "machine_failed": (
        "The rented machine {instance} failed at {step}: {why}",
        "La máquina alquilada {instance} falló en {step}: {why}",
    ),
    "reconciled": (
        "Vast.ai charged ${charged_usd:.2f} in three days for what the ledger has as ${booked_usd:.2f}.",
        "Vast.ai cobró ${charged_usd:.2f} en tres días por lo que el libro tiene como ${booked_usd:.2f}.",
    ),
    "originals_gone": (
        "{count:,} files that documents name are not in the bucket, {key} is one. Nothing was removed for that."
        " `aseagi missing` names them; put them back, or leave it so.",
        "{count:,} archivos que los documentos nombran no están en el almacén; {key} es uno. No se borró nada por ello."
        " `aseagi missing` los enumera; repóngalos o déjelo así.",
    ),
    "balances": ("The certificate of {day} balances: {sum}. {key}", "El certificado de {day} cuadra: {sum}. {key}"),
    "does_not_balance": (
        "The certificate of {day} does NOT balance: {sum}. {key}",
        "El certificado de {day} NO cuadra: {sum}. {key}",
    ),
    "run_waits": (
        "Bulk run {run_id} waits to be confirmed. {why}",
        "La tanda {run_id} espera su confirmación. {why}",
    ),
    "bulk_completed": ("Bulk run {run_id} ({prefix}) is completed.", "La tanda {run_id} ({prefix}) está completada."),
    "bulk_cancelled": ("Bulk run {run_id} ({prefix}) is cancelled.", "La tanda {run_id} ({prefix}) está cancelada."),
    "night_completed": ("The night's run {run_id} is completed.", "La tanda nocturna {run_id} está completada."),
    "night_cancelled": ("The night's run {run_id} is cancelled.", "La tanda nocturna {run_id} está cancelada."),
    "run_done": (
        "{done:,} of {todo:,} documents are done{failed}{left}; {pages:,} pages.",
        "{done:,} de {todo:,} documentos hechos{failed}{left}; {pages:,} páginas.",
    ),
    "run_failed": (", {count:,} failed ({why})", ", {count:,} fallaron ({why})"),
    "run_left": (", {count:,} are left", ", quedan {count:,}"),
    "run_cost": ("Cost: ${usd:,.2f}{cap}{kinds}.", "Costo: ${usd:,.2f}{cap}{kinds}."),
    "run_cap": (" of ${usd:,.2f}", " de ${usd:,.2f}"),
    "cost_claude": ("Claude ${usd:,.2f}", "Claude ${usd:,.2f}"),
    "cost_gpu": ("rented machines ${usd:,.2f}", "máquinas alquiladas ${usd:,.2f}"),
    "cost_storage": ("storage ${usd:,.2f}", "almacenamiento ${usd:,.2f}"),
    "run_took": ("It took {span}.", "Duró {span}."),
    "run_balances": ("Its certificate balances: {sum}. {key}", "Su certificado cuadra: {sum}. {key}"),
    "run_does_not_balance": (
        "Its certificate does NOT balance: {sum}. {key}",
        "Su certificado NO cuadra: {sum}. {key}",
    ),
    "drill_failed": ("The restore drill failed. {why}", "La prueba de restauración falló. {why}"),
    "drill_found": (
        "The restore drill of {backup} found: {found}. `aseagi restore-drill` shows all.",
        "La prueba de restauración de {backup} encontró: {found}. `aseagi restore-drill` lo muestra todo.",
    ),
}


class Notice(str):
    """A sentence in English that knows its Spanish."""

    spanish: str

    def __new__(cls, english: str, spanish: str) -> Notice:
        """Both say the same."""
        made = super().__new__(cls, english)
        made.spanish = spanish
        return made


def notice(name: str, /, **values: object) -> Notice:
    """A notice of the catalogue; values that are notices are each in its language."""
    english, spanish = NOTICES[name]
    in_spanish = {name: value.spanish if isinstance(value, Notice) else value for name, value in values.items()}
    return Notice(english.format(**values), spanish.format(**in_spanish))


def budget_key(limit: float, setting: str, now: datetime) -> str:
    """Under what it is told that a budget is used up: a UTC day's, since the next one's is used up anew."""
    return f"BudgetExceeded:{limit:g}:{setting}:{now:%Y-%m-%d}"


def joined(notices: Sequence[Notice], between: str) -> Notice:
    """Several as one."""
    return Notice(between.join(notices), between.join(one.spanish for one in notices))
