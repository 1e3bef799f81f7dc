"""Superscripts and subscripts in plain text: "10<sup>6</sup>" must not become 106."""

SHORT = 12  # characters; what is longer is a sentence in small print

_RAISED = str.maketrans("0123456789+-−=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱ")
_LOWERED = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")


def superscript(text: str) -> str:
    """ "6" -> "⁶"; what Unicode cannot raise stays as it is: "4th"."""
    return _shifted(text, _RAISED)


def subscript(text: str) -> str:
    return _shifted(text, _LOWERED)


def _shifted(text: str, table: dict[int, int]) -> str:
    plain = text.replace("''", "").strip()
    can = 0 < len(plain) <= SHORT and all(ord(letter) in table for letter in plain)
    return plain.translate(table) if can else text
