"""Personal data: what is masked and what is left, recall and precision on labelled sentences, time on hostile text."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clean import pii
from pipeline.clean.verdict import Replace
from pipeline.core.schema import Document

KINDS = {
    "EMAIL_ADDRESS": "email", "IBAN_CODE": "iban", "CREDIT_CARD": "card", "IP_ADDRESS": "ip", "PHONE_NUMBER": "phone",
}  # fmt: skip


def document(text: str) -> Document:
    return Document(b"0" * 16, "test", "key", "file:0", text)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to jane.doe+x@mail.example.com.", "Write to [EMAIL]."),
        ("<a_b@example.org>, o'neil@x.co.uk", "<[EMAIL]>, [EMAIL]"),
        ("mail：a@b.example。", "mail：[EMAIL]。"),
        ("Call +1 415 555 0100 or (415) 555-0100.", "Call [PHONE] or [PHONE]."),
        ("415-555-0100, +44 20 7946 0958; +4930123456", "[PHONE], [PHONE]; [PHONE]"),
        ("(415-555-0100x12) +46 (0)8 928 571 38", "([PHONE]) [PHONE]"),
        ("001-253-366-9781 or 01.84.17.61.18 or 0341 8387176", "[PHONE] or [PHONE] or [PHONE]"),
        ("Phone: 9498777106. Fax 21 284 698 2548", "Phone: [PHONE]. Fax [PHONE]"),
        ("call me at 467 3395; 9472 7916 mobile", "call me at [PHONE]; [PHONE] mobile"),
        ("from 203.0.113.9, 8.8.8.8.", "from [IP], [IP]."),
        ("2001:4860:4860::8888 and 2a00:1450:4001:81b:0:0:0:200e", "[IP] and [IP]"),
        ("GB29 NWBK 6016 1331 9268 19 is hers", "[IBAN] is hers"),
        ("de89370400440532013000, MT84MALT011000012345MTLCAST001S", "[IBAN], [IBAN]"),
        ("4111 1111 1111 1111, 378282246310005; 5555-5555-5555-4444", "[CARD], [CARD]; [CARD]"),
        ("a@b.example 8.8.8.8 naïve +1 415 555 0100", "[EMAIL] [IP] naïve [PHONE]"),
    ],
)
def test_personal_data_is_masked(text: str, masked: str) -> None:
    verdict = pii.build(pii.Config())(document(text))
    assert isinstance(verdict, Replace)
    assert (verdict.document.text, verdict.edit) == (masked, "pii")
    assert pii.mask(masked, pii.Config()) == masked


@pytest.mark.parametrize(
    "text",
    ["@decorator and a @ b, user@localhost", "127.0.0.1 10.0.0.1 192.168.1.1 172.16.0.1 0.0.0.0 255.255.255.0",
     "version 1.2.3.4.5, 1.2.3, 256.1.1.1", "in 1914-1918 and 2020-01-02, 1,000,000", "3.14159265358979",
     "pages 123-456, ISBN 978-3-16-148410-0", "+12 points", "x = 4155550100",
     "GB28 NWBK 6016 1331 9268 19", "ZZ29 NWBK 6016 1331 9268 19", "4111 1111 1111 1112", "9780306406157",
     "7992739871300003", "::1 fe80::1 fd00::1 10:20:30 00:1a:2b:3c:4d:5e std::deque::end",
     "the phones of 1914-1918", "a call for 1,234,567 votes", "born 02.03.2004, no. 460-89-9847"],
)  # fmt: skip
def test_other_numbers_are_not(text: str) -> None:
    assert pii.build(pii.Config())(document(text)) is None


def test_kinds_can_be_left_out() -> None:
    text = "a@b.example 8.8.8.8 +1 415 555 0100 DE89370400440532013000 378282246310005"
    masked = "[EMAIL] [IP] [PHONE] [IBAN] [CARD]"
    assert pii.mask(text, pii.Config()) == masked
    for kind, plain, placeholder in zip(
        ("email", "ip", "phone", "iban", "card"),
        ("a@b.example", "8.8.8.8", "+1 415 555 0100", "DE89370400440532013000", "378282246310005"),
        masked.split(), strict=True,
    ):  # fmt: skip
        assert pii.mask(text, pii.Config(**{kind: False})) == masked.replace(placeholder, plain)


def test_luhn() -> None:
    assert pii.luhn(b"79927398713")
    assert not any(pii.luhn(b"7992739871%d" % digit) for digit in (0, 1, 2, 4, 5, 6, 7, 8, 9))


@given(st.text(alphabet="0123456789 .:-+()@aGxé", max_size=200))
@settings(max_examples=300, deadline=None)
def test_the_kernel_hides_nothing_from_the_expressions(text: str) -> None:
    masked = pii.mask(text, pii.Config())
    data = bytearray(text.encode())
    everywhere = [[0, len(data)]]
    for search in (pii.ibans, pii.cards, pii.ips, pii.phones):
        if search is pii.ibans:
            for start, end in pii.emails(data):
                data[start:end] = bytes(end - start)
        for start, end in search(data, everywhere):
            data[start:end] = bytes(end - start)
    assert ("\0" in data.decode()) == (masked != text)


@pytest.mark.parametrize(
    "unit", ["1", "1 ", "+1", "a@", "aa@a.", "GB29 ", "a:1:", "(1)", "0 11", "1.1.", "tel 1234567 "]
)
def test_time_is_linear_in_hostile_text(unit: str) -> None:
    def seconds(size: int) -> float:
        start = time.process_time()
        pii.mask(unit * (size // len(unit)), pii.Config())
        return time.process_time() - start

    seconds(1000)
    assert seconds(40_000) < 16 * max(seconds(10_000), 0.002)


@pytest.mark.real
def test_recall_and_precision_on_labelled_sentences(real_data: Path) -> None:
    with gzip.open(real_data / "filters/pii_synth_dataset_v2.json.gz") as file:
        records: list[dict[str, Any]] = json.load(file)
    wanted = dict.fromkeys(KINDS.values(), 0)
    found, wrong = dict(wanted), dict(wanted)
    for record in records:
        text = record["full_text"]
        gold = [(KINDS[span["entity_type"]], span["start_position"], span["end_position"])
                for span in record["spans"] if span["entity_type"] in KINDS]  # fmt: skip
        ours = spans(text)
        for kind, start, end in gold:
            wanted[kind] += 1
            found[kind] += any(first <= start and end <= last for _, first, last in ours)
        for kind, first, last in ours:
            wrong[kind] += not any(start < last and first < end for _, start, end in gold)
    assert wanted == {"email": 49, "iban": 21, "card": 136, "ip": 14, "phone": 92}
    assert wrong == dict.fromkeys(wanted, 0)
    recall = {kind: found[kind] / wanted[kind] for kind in wanted}
    assert recall.pop("phone") > 0.93
    assert recall == dict.fromkeys(recall, 1.0)


def spans(text: str) -> list[tuple[str, int, int]]:
    """Kind, first and last character of everything that is masked."""
    data = bytearray(text.encode())
    numbers, addresses = pii.number_places(data)
    found = [("email", *place) for place in pii.emails(data)]
    for kind in ("iban", "card", "ip", "phone"):
        for start, end in getattr(pii, f"{kind}s")(data, addresses if kind == "ip" else numbers):
            found.append((kind, start, end))
            data[start:end] = bytes(end - start)
    return [
        (kind, len(text.encode()[:start].decode()), len(text.encode()[:end].decode())) for kind, start, end in found
    ]
