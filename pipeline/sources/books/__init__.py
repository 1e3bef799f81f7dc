"""Books, beside sources/bookcorpus.py, which reads them; HTML becomes text in sources/markup.py.

archives.py    zip and tar -> members, one at a time, within limits
epub.py        EPUB -> title, author, chapters in the order of the spine
gutenberg.py   text -> without Project Gutenberg's header and licence; hard-wrapped lines joined
apparatus.py   text -> without page numbers, running heads, contents, notes of the transcriber
chapters.py    text -> chapters, packed into documents
"""
