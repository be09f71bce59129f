"""All that the bot says: English and Spanish side by side. HTML as Telegram reads it; values are escaped here."""

from __future__ import annotations

from html import escape

from aseagi_tasks.stores.user_records import Language

TEXTS: dict[str, tuple[str, str]] = {
    # -- coming in
    "start": (
        "Send me documents or photographs: PDF, JPG, PNG, TIFF, HEIC, up to 20 MB each. Photographs sent together"
        " become one document, in order. I answer with type, date, parties, case number and a summary.\n"
        "A caption is kept as a note; <code>#case 23CV998417</code> in it says which case it belongs to.\n\n{commands}",
        "Envíeme documentos o fotografías: PDF, JPG, PNG, TIFF, HEIC, hasta 20 MB cada uno. Las fotografías enviadas"
        " juntas forman un solo documento, en orden. Respondo con tipo, fecha, partes, número de caso y resumen.\n"
        "El texto que lo acompaña se guarda como nota; <code>#case 23CV998417</code> indica a qué caso pertenece."
        "\n\n{commands}",
    ),
    "commands": (
        "/search words · /last · /status · /cancel · /costs · /language",
        "/search palabras · /last · /status · /cancel · /costs · /language",
    ),
    "refused": (
        "Thank you for writing. This bot serves invited people only; the operators were told that you asked.",
        "Gracias por escribir. Este bot atiende solo a personas invitadas; ya se avisó a los operadores.",
    ),
    "invite": (
        "{name} (id {id}) would like to use the bot.",
        "{name} (id {id}) desea usar el bot.",
    ),
    "let_in": ("✅ Let in", "✅ Admitir"),
    "keep_out": ("✖ Keep out", "✖ Rechazar"),
    "was_let_in": ("{name} was let in.", "{name} fue admitido."),
    "was_kept_out": ("{name} stays out.", "{name} no fue admitido."),
    "welcome": ("You are in. ", "Ya tiene acceso. "),
    "too_many": (
        "{name}: that is more than {limit} files in an hour. Please send it again after {time} UTC.",
        "{name}: son más de {limit} archivos en una hora. Envíelo de nuevo después de las {time} UTC.",
    ),
    "too_fast": ("That is too fast for me. Please wait a minute.", "Es demasiado rápido. Espere un minuto, por favor."),
    "operators_only": ("That is for operators.", "Eso es para operadores."),
    "language": ("Which language?", "¿Qué idioma?"),
    "language_set": ("I write English now.", "Ahora escribo en español."),
    # -- a document on its way
    "received": ("📄 {name}\nreceived", "📄 {name}\nrecibido"),
    "at": ("📄 {name}\n{stage}", "📄 {name}\n{stage}"),
    "queued": ("waiting for its turn", "en espera"),
    "fetch": ("fetching", "descargando"),
    "rasterize": ("looking at its pages", "revisando las páginas"),
    "ocr": ("reading", "leyendo"),
    "ocr_page": ("reading page {page} of {pages}", "leyendo la página {page} de {pages}"),
    "analyze": ("finding facts", "buscando datos"),
    "upload": ("storing", "guardando"),
    "record": ("almost done", "casi listo"),
    "too_big": (
        "📄 {name} has {size} MB; Telegram lets a bot fetch 20.",
        "📄 {name} tiene {size} MB; Telegram permite a un bot descargar 20.",
    ),
    "upload_link": (
        'Put it here within a day, from a computer:\n<code>curl -T "{name}" "{url}"</code>\nthen press the button.',
        'Súbalo aquí en el plazo de un día, desde una computadora:\n<code>curl -T "{name}" "{url}"</code>\n'
        "y después pulse el botón.",
    ),
    "no_upload_link": (
        "This archive is a folder on one machine and has no upload links: hand the file to an operator,"
        " who takes it in with <code>aseagi process</code>.",
        "Este archivo está en una carpeta de una sola máquina y no tiene enlaces de subida: entregue el archivo a un"
        " operador, que lo procesa con <code>aseagi process</code>.",
    ),
    "uploaded": ("⬆ It is there", "⬆ Ya está"),
    "not_there": ("It is not there yet.", "Todavía no está."),
    "no_file": (
        "I read documents and photographs. Send one, or words to search for.",
        "Leo documentos y fotografías. Envíe uno, o palabras para buscar.",
    ),
    # -- how it ended
    "cancelled": ("📄 {name}\n✖ cancelled", "📄 {name}\n✖ cancelado"),
    "failed": ("📄 {name}\n⚠ {why}", "📄 {name}\n⚠ {why}"),
    "NotADocument": (
        "This is not a document that I can read. PDF, JPG, PNG, TIFF and HEIC are read.",
        "No es un documento que pueda leer. Leo PDF, JPG, PNG, TIFF y HEIC.",
    ),
    "Encrypted": (
        "It is locked with a password. Save a copy without the password and send that.",
        "Está protegido con contraseña. Guarde una copia sin contraseña y envíela.",
    ),
    "TooLarge": ("It is too large. {message}", "Es demasiado grande. {message}"),
    "NoPages": ("It has no pages.", "No tiene páginas."),
    "Unreadable": (
        "It could not be read. If it opens elsewhere, print it to PDF and send that.",
        "No se pudo leer. Si se abre en otro programa, imprímalo a PDF y envíelo.",
    ),
    "Quarantined": (
        "It could not be processed and is set aside; the operators were told.",
        "No se pudo procesar y queda apartado; se avisó a los operadores.",
    ),
    "Refused": ("It was refused. {message}", "Fue rechazado. {message}"),
    "other_error": ("Something went wrong. {message}", "Algo salió mal. {message}"),
    "broken": (
        "I could not deal with that, and shall not try again.",
        "No pude atender eso y no lo intentaré de nuevo.",
    ),
    # -- the result
    "document": ("document", "documento"),
    "page": ("page", "página"),
    "pages": ("pages", "páginas"),
    "document_type": ("type", "tipo"),
    "document_date": ("date", "fecha"),
    "filed_date": ("filed", "presentado"),
    "case_number": ("case number", "número de caso"),
    "court": ("court", "tribunal"),
    "title": ("title", "título"),
    "parties": ("parties", "partes"),
    "summary": ("summary", "resumen"),
    "relevancy_score": ("relevancy", "relevancia"),
    "note": ("note", "nota"),
    "found_on": ("p. {pages}", "pág. {pages}"),
    "unverified": ("not found on the page", "no hallado en la página"),
    "corrected": ("✎ {who}, {when}; was {was}", "✎ {who}, {when}; antes {was}"),
    "nothing": ("nothing", "nada"),
    "known": ("known since {when}", "conocido desde {when}"),
    "blank": ("There is nothing on its pages.", "No hay nada en sus páginas."),
    "covered": (
        "page {page}: text under a bar can still be read in the file",
        "página {page}: el texto bajo una barra aún se puede leer en el archivo",
    ),
    "invisible": (
        "page {page}: the file has text that the page does not show",
        "página {page}: el archivo tiene texto que la página no muestra",
    ),
    "contradicted": (
        "page {page}: it shows other words than the file's text has",
        "página {page}: muestra otras palabras que las del texto del archivo",
    ),
    "open": ("🔗 Original", "🔗 Original"),
    "searchable": ("🔎 PDF", "🔎 PDF"),
    "text": ("📝 Text", "📝 Texto"),
    "again": ("↻ Again", "↻ De nuevo"),
    "wrong": ("✎ Wrong?", "✎ ¿Error?"),
    "back": ("← Back", "← Volver"),
    "link": ("{name}, for an hour:", "{name}, durante una hora:"),
    "too_big_to_send": (
        "{name} has {size} MB; Telegram lets a bot send 50. It lies at <code>{place}</code>.",
        "{name} tiene {size} MB; Telegram permite a un bot enviar 50. Está en <code>{place}</code>.",
    ),
    "not_stored": ("There is no such file of this document.", "Ese archivo del documento no existe."),
    # -- corrections
    "which_field": ("What is wrong?", "¿Qué está mal?"),
    "what_instead": (
        "✎ {name}\n{field} is now: {value}\nAnswer this message with what is right{how}.\n<code>{mark}</code>",
        "✎ {name}\n{field} es ahora: {value}\nResponda a este mensaje con lo correcto{how}.\n<code>{mark}</code>",
    ),
    "how_date": (", as 2024-03-15", ", como 2024-03-15"),
    "how_score": (", from 0 to 100", ", de 0 a 100"),
    "how_parties": (", one a line", ", una por línea"),
    "which_type": ("✎ {name}\nWhat is it?", "✎ {name}\n¿Qué es?"),
    "not_valid": ("That is no {field}{how}.", "Eso no sirve como {field}{how}."),
    "was_corrected": (
        "✓ {field}: {value}\n{who}, {when} UTC; was {was}",
        "✓ {field}: {value}\n{who}, {when} UTC; antes {was}",
    ),
    # -- commands
    "no_words": ("/search words", "/search palabras"),
    "nothing_found": ("Nothing found: {words}", "Nada encontrado: {words}"),
    "found": ("🔎 {words}", "🔎 {words}"),
    "alike": ("Nothing has these words. Names that look like them:", "Nada tiene esas palabras. Nombres parecidos:"),
    "no_documents": ("You have sent nothing yet.", "Aún no ha enviado nada."),
    "status": (
        "{queued} waiting, {processing} at work, {completed} completed, {error} failed, {cancelled} cancelled",
        "{queued} en espera, {processing} en curso, {completed} completados, {error} fallidos, {cancelled} cancelados",
    ),
    "more": ("… and {count} more", "… y {count} más"),
    "yours": ("Yours:", "Los suyos:"),
    "nothing_to_cancel": ("Nothing of yours is on its way.", "No hay nada suyo en curso."),
    "which_cancel": ("Which one?", "¿Cuál?"),
    "is_cancelled": ("Cancelled: {name}", "Cancelado: {name}"),
    "had_ended": ("{name} had already ended.", "{name} ya había terminado."),
    "costs": ("today {today}\nthis month {month}", "hoy {today}\neste mes {month}"),
    "budget": ("{kind}: {spent} of {limit} today", "{kind}: {spent} de {limit} hoy"),
    "rented": ("{count} machines, {total}/h", "{count} máquinas, {total}/h"),
    "per_thousand": ("{usd} for 1,000 documents", "{usd} por 1.000 documentos"),
    # -- what Telegram shows beside the field to write in
    "menu_search": ("search: words, names, case numbers", "buscar: palabras, nombres, números de caso"),
    "menu_last": ("your last documents", "sus últimos documentos"),
    "menu_status": ("what waits and runs", "qué espera y qué está en curso"),
    "menu_cancel": ("end work on a document", "cancelar un documento"),
    "menu_costs": ("what was spent", "cuánto se gastó"),
    "menu_language": ("English or Spanish", "inglés o español"),
    "menu_help": ("what this bot does", "qué hace este bot"),
    "menu_budget": ("what is left of today's budgets", "qué queda de los presupuestos de hoy"),
    "menu_instances": ("rented machines", "máquinas alquiladas"),
    "menu_bulk": ("bulk runs: begin, confirm, follow", "tandas: comenzar, confirmar, seguir"),
    # -- bulk runs
    "bulk_head": (
        "📦 <b>{prefix}</b>\n<code>{run}</code> · {status}",
        "📦 <b>{prefix}</b>\n<code>{run}</code> · {status}",
    ),
    "run_scanning": ("looking through the bucket", "revisando el almacén"),
    "run_waiting": ("waits for your word", "espera su confirmación"),
    "run_confirmed": ("confirmed", "confirmada"),
    "run_running": ("running", "en curso"),
    "run_paused": ("paused", "en pausa"),
    "run_finishing": ("finishing", "terminando"),
    "run_cancelling": ("being cancelled", "cancelándose"),
    "run_completed": ("completed", "completada"),
    "run_cancelled": ("cancelled", "cancelada"),
    "bulk_found": (
        "{keys} files looked at, {todo} to be done ({size})",
        "{keys} archivos revisados, {todo} por procesar ({size})",
    ),
    "bulk_left_out": ("left out: {what}", "quedan fuera: {what}"),
    "scan_done": ("{count} done already", "{count} ya procesados"),
    "scan_failed": ("{count} that failed before", "{count} que ya fallaron"),
    "scan_open": ("{count} on their way", "{count} en curso"),
    "scan_unrested": ("{count} written just now", "{count} recién escritos"),
    "scan_refused": ("{count} that are no documents", "{count} que no son documentos"),
    "scan_gone": ("{count} no longer there", "{count} que ya no están"),
    "bulk_quote": (
        "{documents} documents · {pages} pages · {usd} · {time}",
        "{documents} documentos · {pages} páginas · {usd} · {time}",
    ),
    "bulk_line": ("· {what}: {figures} ({how})", "· {what}: {figures} ({how})"),
    "bulk_ask": ("Nothing is processed before you confirm.", "No se procesa nada antes de que confirme."),
    "bulk_progress": (
        "{done} of {of} done ({share} %), {failed} of them failed, {open} open",
        "{done} de {of} hechos ({share} %), {failed} de ellos fallidos, {open} abiertos",
    ),
    "bulk_pace": ("{per_hour} an hour, about {time} left", "{per_hour} por hora, faltan unos {time}"),
    "bulk_left": ("{count} are left for another run", "{count} quedan para otra tanda"),
    "bulk_money": ("{spent} of at most {cap}", "{spent} de {cap} como máximo"),
    "bulk_why": ("{why}", "{why}"),
    "bulk_trouble": ("⚠ {why}", "⚠ {why}"),
    "bulk_balances": ("✓ The certificate balances: {sum}", "✓ El certificado cuadra: {sum}"),
    "bulk_does_not_balance": ("⚠ The certificate does NOT balance: {sum}", "⚠ El certificado NO cuadra: {sum}"),
    "bulk_certificate": ("<code>{key}</code>", "<code>{key}</code>"),
    "bulk_confirm": ("✅ Confirm, at most {cap}", "✅ Confirmar, máximo {cap}"),
    "bulk_pause": ("⏸ Pause", "⏸ Pausar"),
    "bulk_resume": ("▶ Resume", "▶ Reanudar"),
    "bulk_cancel": ("✖ Cancel", "✖ Cancelar"),
    "bulk_none": (
        "There was no bulk run yet. <code>/bulk raw/2026/</code> looks through what is there and says what it costs.",
        "Aún no hubo ninguna tanda. <code>/bulk raw/2026/</code> revisa lo que hay y dice cuánto cuesta.",
    ),
    "bulk_list": (
        "Bulk runs. <code>/bulk raw/2026/</code> begins one, <code>/bulk raw/2026/ $20</code> with a cap.",
        "Tandas. <code>/bulk raw/2026/</code> comienza una, <code>/bulk raw/2026/ $20</code> con un máximo.",
    ),
    "bulk_row": (
        "\n{number}. {prefix}\n{status} · {done} · {money} · {when}",
        "\n{number}. {prefix}\n{status} · {done} · {money} · {when}",
    ),
    "bulk_refused": ("That cannot be done. {why}", "No se puede. {why}"),
    "bulk_not_now": ("Not any more: it is {status}.", "Ya no: está {status}."),
    "bulk_gone": ("There is no such run.", "No existe esa tanda."),
    "unknown_command": ("I do not know {command}. {commands}", "No conozco {command}. {commands}"),
}


class Html(str):
    """Text that is HTML already."""


def say(language: Language, key: str, /, **values: object) -> Html:
    """A text of the catalogue; values are escaped unless they are HTML already."""
    english, spanish = TEXTS[key]
    shown = {
        name: value if isinstance(value, Html) else escape(str(value), quote=False) for name, value in values.items()
    }
    return Html((spanish if language == "es" else english).format(**shown))
