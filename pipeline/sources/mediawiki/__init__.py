"""MediaWiki's formats, beside sources/wikipedia.py, which reads them.

streams.py     a dump in any packing -> decompressed pieces; where it can be cut
index.py       the index of a multistream dump -> where its streams begin
pages.py       pieces -> pages, each with its newest revision
site.py        what the dump's head says: namespaces in the wiki's language, base URL
balance.py     wikitext -> wikitext that the parser reads in linear time
wikitext.py    wikitext -> text
flat.py        the same without a tree, for articles of very many nodes
nodes.py       a link or a template -> text, for both
templates.py   the templates that carry prose
"""
