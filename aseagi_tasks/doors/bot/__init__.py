"""Telegram: documents and photographs in, one message a document that ends as its result.

inbox         updates by polling or webhook, kept in the records before Telegram hears that they came
dispatch      which part deals with an update
people        who may come in, invitations, how much an hour
intake        files, albums, captions → documents and jobs
answers       one message a document, edited as stages pass, until it has its last form
card          how a result looks
commands      /status, /search …              callbacks     what buttons do
bulk          /bulk: runs begun, confirmed and followed    bulk_card     how a run looks
corrections   "wrong?": a field corrected     post          sending within Telegram's limits
texts         all that the bot says, in English and Spanish
"""
