"""Charsets of text that is not all in one: what is UTF-8 but for a few bytes is not taken for Windows-1252."""

import pytest

from pipeline.sources.charset import decode

GERMAN = "Für die Größe der Häuser gibt es übliche Maße, sagte der Bürgermeister. " * 20
OLD = {
    "cp1252": GERMAN, "cp1251": "Дом был построен в прошлом веке. " * 20, "koi8-r": "Дом был построен. " * 20,
    "gb18030": "房子是上个世纪建造的，市长说。" * 20, "shift_jis": "家は前の世紀に建てられた。" * 20,
    "cp1253": "Το σπίτι χτίστηκε τον περασμένο αιώνα. " * 20,
}  # fmt: skip


@pytest.mark.parametrize("declared", ["", "utf-8", "iso-8859-1"])
@pytest.mark.parametrize(
    "raw",
    [GERMAN.encode()[:-1] + "ö".encode()[:1], GERMAN.encode().replace(b"gibt", b"gi\xffbt", 1),
     GERMAN.encode() * 9 + GERMAN.encode("cp1252")],
    ids=["cut", "one wrong byte", "a tenth in another charset"],
)  # fmt: skip
def test_a_few_wrong_bytes_do_not_garble_the_others(raw: bytes, declared: str) -> None:
    text, charset = decode(raw, declared, html=True)
    assert text == raw.decode("utf-8", "replace")
    assert charset == "damaged"


@pytest.mark.parametrize("charset", OLD)
def test_old_charsets_are_not_taken_for_damaged_utf_8(charset: str) -> None:
    assert decode(OLD[charset].encode(charset), charset)[0] == OLD[charset]


def test_one_odd_sign_in_english_text_is_windows_1252() -> None:
    assert decode(b"The weir \x96 opened on Friday.")[0] == "The weir – opened on Friday."
