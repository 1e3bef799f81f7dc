"""Pages of the web, beside sources/cc_news.py, which reads them.

warc.py            WARC and ARC files, whole or damaged -> records
warc_packing.py    gzip, zstd or plain -> pieces, for warc.py
http_response.py   a response record -> status, type, charset, body
page.py            HTML -> what the page says of itself: title, date, language
main_text.py       HTML -> main text, by one of three extractors
line_rules.py      lines of a page -> those that are its text, for main_text.py
page_words.py      what pages say about themselves, as words, for line_rules.py
urls.py            one form for the URLs of one page
"""
