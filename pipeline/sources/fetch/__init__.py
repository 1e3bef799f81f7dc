"""`penstock fetch`: a public corpus in, its raw files out, proven; what `penstock prepare` reads.

In:  the name of a fetcher and its settings. Out:

    OUT/...              the files as published
    OUT/manifest.json    last: where each came from, its size and checksums; `penstock verify OUT` re-reads every byte
    OUT/.NAME.part       a file on its way, with `.NAME.part.json` beside it: which version of it that is

1. base.py      what a fetcher is: a plugin that lists files; wikipedia.py, cc_news.py, books.py are the fetchers
2. web.py       HTTP with manners: rate, retries, Retry-After, proxies
3. download.py  one file: resumed by range, checked against its published sum, renamed when whole
4. run.py       all files: a few at a time, then the manifest

A fetch that was killed goes on where it was; one that is done asks for the listing and moves nothing.
"""
