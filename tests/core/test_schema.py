from pipeline.core.schema import document_id
from pipeline.core.seeds import derive, keep_fraction


def test_document_id_depends_on_every_part_and_on_their_bounds() -> None:
    ids = {
        document_id("a", "b", b"c"),
        document_id("ab", "", b"c"),
        document_id("a", "bc", b""),
        document_id("a", "b", b"d"),
    }
    assert len(ids) == 4
    assert document_id("wikipedia", "Water", b"text").hex() == "bf2f82e16ac192e10828a021754b5458"


def test_every_key_has_an_id() -> None:
    """A file name that is not UTF-8 has the id of its bytes; halves of surrogate pairs have ids of their own."""
    assert document_id("books", "\udcff.txt", b"text").hex() == "878441ca35ba08992ff17efb339381dd"
    assert len({document_id("a", key, b"c") for key in ("\ud83d", "\ud83e", "\ufffd", "?")}) == 4


def test_fractions_are_even_and_belong_to_the_key() -> None:
    fractions = [keep_fraction(number.to_bytes(16, "little"), seed=1) for number in range(20_000)]
    assert 0.48 < sum(fractions) / len(fractions) < 0.52
    assert 0.005 < sum(f < 0.01 for f in fractions) / 20_000 < 0.015


def test_derived_seeds_differ_by_name_and_are_stable() -> None:
    assert derive(1, "a", "bc") != derive(1, "ab", "c")
    assert derive(1, "a") != derive(2, "a")
