"""Speed and memory, as ratios against a named peer: `make bench`, or `python -m tests.bench NAME ...` for a part.

tests/bench/NAME.py holds `rows() -> Iterator[Row]`, one Row for each line of a promise's table.
"""
