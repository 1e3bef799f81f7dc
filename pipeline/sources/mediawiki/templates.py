"""The templates that carry prose: a name, lower case, to what a reader sees of it.

In:  a Call: the parameters of one template, rendered. Out: text.
Chosen by counting what stands inside sentences of the English Wikipedia. What depends on other pages or data of its own
(`inflation`, `flagicon`) is not here, and neither is what only helps editors. Nothing depends on the clock: an age of
today is the date it counts from. Numbers and units stay as the author wrote them: {{convert|1300|mi|km}} is "1300 mi",
without the conversion.
"""

import math
import re
from collections.abc import Callable
from typing import Protocol

from pipeline.sources.mediawiki.scripts import subscript, superscript

SINCE = "\x05"  # around a date whose distance from today the template would tell
MONTHS = ("", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip


class Call(Protocol):
    """A template as its handler sees it; what is not given is ""."""

    name: str

    def text(self, position: int) -> str:
        """The positional parameter, counted from 1."""

    def texts(self) -> list[str]: ...

    def named(self, *keys: str) -> str:
        """The first of these that is given."""


Handler = Callable[[Call], str]

_BETWEEN = {"to": " to ", "-": "–", "–": "–", "and": " and ", "by": " by ", "x": " × ", "×": " × ", "or": " or ",
            "to(-)": " to ", "and(-)": " and ", "by(-)": " by ", "xx": " × ", "+/-": " ± ", "±": " ± ", "+": " + ",
            "to about": " to about ", "/": "/", ",": ", ", ", and": ", and ", ", or": ", or "}  # fmt: skip
_UNITS = {"sqmi": "square miles", "sqkm": "square kilometres", "km2": "km²", "m2": "m²", "cm2": "cm²", "mi2":
          "square miles", "sqft": "square feet", "sqin": "square inches", "sqyd": "square yards", "ft2": "square feet",
          "C": "°C", "F": "°F", "K": "K", "m3": "m³", "cm3": "cm³", "km3": "km³", "cuft": "cubic feet", "cuin":
          "cubic inches", "cuyd": "cubic yards", "cumi": "cubic miles", "acre": "acres", "nmi": "nautical miles",
          "/sqmi": "per square mile", "/km2": "per km²", "m3/s": "m³/s", "cuft/s": "cubic feet per second", "LT":
          "long tons", "ST": "short tons", "t": "tonnes", "oilbbl": "barrels", "oilbbl/d": "barrels per day", "USgal":
          "US gallons", "impgal": "imperial gallons", "AU": "AU", "ly": "light-years", "hp": "hp", "fathom": "fathoms",
          "Moilbbl": "million barrels", "koilbbl/d": "thousand barrels per day", "carat": "carats"}  # fmt: skip
_POWERS = {"e3": "thousand ", "e6": "million ", "e9": "billion ", "e12": "trillion "}
_FOLLOWED = ("ft", "in", "st", "lb", "yd", "mi", "oz", "chain", "furlong")  # {{convert|6|ft|2|in}}
_NUMBER = re.compile(r"[-+−]?[\d.,/⁄]{1,100}(?:e[-+]?\d{1,3})?(?:\s?×\s?10\S{1,5})?")


def _convert(call: Call) -> str:
    """{{convert|3|to|5|km|mi}} -> "3 to 5 km", {{convert|6|ft|2|in|m}} -> "6 ft 2 in"."""
    parts = call.texts()
    shown = ""
    for place, part in enumerate(parts):
        if part in _BETWEEN:
            shown += _BETWEEN[part]
        elif _NUMBER.fullmatch(part) or place == 0:
            shown += part
        else:
            shown += ("-" if call.named("adj") in ("on", "mid") and place == 1 else " ") + _unit(part)
            following = parts[place + 1 : place + 3]
            if not (part in _FOLLOWED and len(following) == 2 and re.fullmatch(r"[\d.,/]{1,20}", following[0])
                    and following[1] in _FOLLOWED):  # fmt: skip
                break
            shown += " "
    return shown


def _unit(code: str) -> str:
    for prefix, power in _POWERS.items():
        if code.startswith(prefix):
            return power + _unit(code.removeprefix(prefix))
    return _UNITS.get(code, code)


def _number(call: Call) -> str:
    """{{formatnum:1234567.5}} -> "1,234,567.5"; text that is not a number stays as it is."""
    given = call.text(1)
    whole, point, fraction = given.partition(".")
    return f"{int(whole):,}{point}{fraction}" if re.fullmatch(r"-?[0-9]{1,100}", whole) else given


def _value(call: Call) -> str:
    """{{val|1.25|0.02|e=9|u=kg}} -> "1.25±0.02×10⁹ kg"."""
    number, error = call.text(1), call.text(2)
    if error:
        number += error if error.startswith("(") else f"±{error}"
    if power := call.named("e"):
        number += f"×10{superscript(power)}"
    unit = call.named("u", "ul", "up", "upl")
    return f"{number} {unit}".strip()


def _fraction(call: Call) -> str:
    """{{frac|2}} -> "1/2", {{frac|3|4}} -> "3/4", {{frac|1|3|4}} -> "1 3/4"."""
    parts = call.texts()
    if len(parts) == 3:
        return f"{parts[0]} {parts[1]}/{parts[2]}"
    return "/".join(parts if len(parts) > 1 else ["1", *parts])


def _chemical(call: Call) -> str:
    """{{chem|Ge|9|2-}} -> "Ge₉²⁻"."""
    return "".join(
        subscript(part) if part.isdigit() else superscript(part) if re.fullmatch(r"\d{0,2}[-+−]", part) else part
        for part in call.texts()
    )


def _formula(call: Call) -> str:
    """{{chem2|H2O}} -> "H₂O"."""
    return re.sub(r"(?<=[A-Za-z)\]])\d{1,3}", lambda number: subscript(number[0]), call.text(1))


def _month(given: str) -> str:
    return MONTHS[int(given)] if re.fullmatch(r"0?[1-9]|1[0-2]", given) else given


def _as_of(call: Call) -> str:
    if call.named("alt"):
        return call.named("alt")
    year, month, day = call.text(1), _month(call.text(2)), call.text(3)
    begin = call.named("pre") or ("as of" if call.named("lc") else "As of")
    return " ".join(part for part in (begin, day, month, year) if part)


def _date(call: Call) -> str:
    """{{birth date|1990|5|3}} -> "May 3, 1990", with df=yes "3 May 1990"; the age of today is left out."""
    year, month, day = call.text(1), _month(call.text(2)), call.text(3).lstrip("0")
    if call.named("df") and not call.named("mf"):
        return " ".join(part for part in (day, month, year) if part)
    return f"{month} {day}, {year}" if day else f"{month} {year}".strip()


def _age(call: Call) -> str:
    """Between two dates; of one date, which means today, that date between marks: see `without_ages`."""
    given = call.texts()[:6]
    if len(given) not in (3, 6) or not all(re.fullmatch(r"\d{1,4}", part) for part in given):
        return ""
    if len(given) == 3:
        return f"{SINCE}{_date(call)}{SINCE}"
    begin, end = tuple(map(int, given[:3])), tuple(map(int, given[3:6]))
    return str(end[0] - begin[0] - (end[1:] < begin[1:]))


_SINCE = f"{SINCE}([^{SINCE}]*){SINCE}"
_YEARS = "(?: years?(?: old| of age)?)?"
_AGES = [  # what stands around an age that the clock tells, and what is true on any day
    (re.compile(rf" ?\({_SINCE} years? ago\)"), ""),  # the event, and most often its date, stands before it
    (re.compile(rf"{_SINCE} years? ago"), r"on \1"),
    (re.compile(rf"{_SINCE}[- ]year[- ]old "), ""),
    (re.compile(rf"\bis (?:now )?(?:aged )?{_SINCE}{_YEARS}"), r"was born \1"),
    (re.compile(rf"(?:\baged? )?{_SINCE}{_YEARS}"), r"born \1"),
]


def without_ages(text: str) -> str:
    """ "He is {{age|1950|6|2}} years old" as "He was born June 2, 1950"."""
    for around, instead in _AGES if SINCE in text else ():
        text = around.sub(instead, text)
    return text


def _ordinal(call: Call) -> str:
    number = call.text(1)
    if not number.isdecimal():
        return number
    teen = number[-2:] in ("11", "12", "13")
    return number + ("th" if teen else {"1": "st", "2": "nd", "3": "rd"}.get(number[-1], "th"))


def _coordinates(call: Call) -> str:
    """{{coord|13|19|N|169|9|W|type:event}} -> "13°19′N 169°9′W", {{coord|32.7|-86.7}} -> "32.7°N 86.7°W"; what is shown
    beside the page's title only is no text."""
    shown: list[str] = []
    numbers: list[str] = []
    for part in call.texts():
        if part in ("N", "S", "E", "W"):
            shown.append("".join(map("".join, zip(numbers, "°′″", strict=False))) + part)
            numbers = []
        elif re.fullmatch(r"[-+−]?\d{1,3}(?:\.\d{1,20})?", part):
            numbers.append(part)
        else:
            break
    if not shown and len(numbers) == 2:
        shown = [f"{number.lstrip('+-−')}°{signs[number[0] in '-−']}"
                 for number, signs in zip(numbers, ("NS", "EW"), strict=True)]  # fmt: skip
    return " ".join(shown) if len(shown) == 2 and call.named("display", "dis") not in ("title", "t") else ""


def _density(call: Call) -> str:
    """{{pop density|5000|20.1|km2}} -> "250 per km²": two digits count, or `prec` behind the point."""
    given = [call.text(position).replace(",", "") for position in (1, 2)]
    if not all(re.fullmatch(r"\d{1,15}(?:\.\d{1,15})?", number) for number in given) or not float(given[1]):
        return ""
    density = float(given[0]) / float(given[1])
    two_digits = 1 - math.floor(math.log10(density)) if density else 0
    digits = int(call.named("prec")) if re.fullmatch(r"-?\d", call.named("prec")) else two_digits
    return f"{round(density, digits):,.{max(0, digits)}f} {_unit('/' + (call.text(3) or 'km2'))}"


def _height(call: Call) -> str:
    units = ("m", "cm", "ft", "in", "hands")
    return " ".join(f"{call.named(unit)} {unit}" for unit in units if call.named(unit)) or call.text(1)


def _quote(call: Call) -> str:
    words = call.named("text", "quote") or call.text(1)
    author = call.named("author", "sign", "by") or call.text(2)
    return f"\n\n{words}\n\n" + (f"— {author}\n\n" if author else "")


def _ipa(call: Call) -> str:
    """{{IPA|/e/}}, and as it is since 2024: {{IPA|de|ˈaʁtʊʁ}}."""
    return call.text(2) if call.text(2) and re.fullmatch(r"[a-z]{2,3}(-\w{1,8})*", call.text(1)) else call.text(1)


_GAPS = {"_": " ", ",_": ", "}  # between words, in IPAc-en and respell
_LABELS = ("lang", "pron", "local", "us", "uk", "also", "ipa", "ame", "bre", "rp", "ga", "au", "nz", "ca", "uklang")
_SOUND_FILE = re.compile(r".{1,200}\.(?:og[ga]|wav|mp3|flac)", re.IGNORECASE)


def _english_sounds(call: Call) -> str:
    """{{IPAc-en|pron|'|n|ɪ|m|,_|a|Nim.ogg}} -> "/ˈnɪm, a/"."""
    aliases = _GAPS | {"'": "ˈ", ",": "ˌ"}
    sounds = [part for part in call.texts() if part.lower() not in _LABELS and not _SOUND_FILE.fullmatch(part)]
    return f"/{''.join(aliases.get(part, part) for part in sounds)}/" if any(sounds) else ""


def _respelled(call: Call) -> str:
    """{{respell|PEN|stok|,_|a}} -> "PEN-stok, a"."""
    shown = "-".join(filter(None, call.texts()))
    for gap, text in _GAPS.items():
        shown = shown.replace(f"-{gap}-", text)
    return shown


def _japanese(call: Call) -> str:
    """{{nihongo|bayonet|銃剣|jūken}} -> "bayonet (銃剣, jūken)"."""
    inside = ", ".join(part for part in call.texts()[1:4] if part)
    return f"{call.text(1)} ({inside})" if call.text(1) and inside else call.text(1) or inside


def _ship(call: Call) -> str:
    return f"{call.name.upper()} {call.text(1)}"


def _lines(call: Call) -> str:
    return "\n\n" + "\n".join(f"- {text}" for text in call.texts() if text) + "\n\n"


def _word(position: int) -> Handler:
    return lambda call: call.text(position)


def _last(call: Call) -> str:
    return next((text for text in reversed(call.texts()) if text), "")


def _joined(by: str) -> Handler:
    return lambda call: by.join(text for text in call.texts() if text)


def _around(before: str, after: str = "") -> Handler:
    return lambda call: f"{before}{call.text(1)}{after}" if call.text(1) else ""


def _constant(text: str) -> Handler:
    return lambda call: text


def _table(*rows: tuple[str, Handler]) -> dict[str, Handler]:
    return {name: handler for names, handler in rows for name in names.split(" | ")}


BY_NAME = _table(
    ("convert | cvt", _convert),
    ("val", _value),
    ("formatnum | format number | num | fnum | formatprice | format price", _number),
    ("lang | langx | script | rtl-lang | color | font color | background color | bg | sort", _word(2)),
    ("transl | transliteration | translit | columns-list", _last),
    ("nowrap | nobr | nobreak | small | big | sc | sc2 | smallcaps | smaller | larger | midsize | resize | abbr | "
     "abbrlink | abbrv | tooltip | em | strong | uc | lc | ucfirst | lcfirst | not a typo | sic | typo | linktext | "
     "code | mono | kbd | samp | var | mvar | math | tmath | vanchor | visible anchor | vr | nobold | noitalic | "
     "nonitalic | italics correction | italic | bold | underline | u | s | strikethrough | xt | mxt | !xt | "
     "lang-rus | flag | flagcountry | sclass2 | bdi | wikt-lang | ill | interlanguage link | illm | link-interwiki | "
     "center | align | block indent | ltr | rtl-para | proper name | ship name | dab link | plainlist | flatlist | "
     "stack | nwr | crossreference | birth year and age | death year and age", _word(1)),
    ("angbr | angbr ipa | angle bracket", _around("⟨", "⟩")),
    ("ipa | ipaslink | ipalink | ipablink | ipa link", _ipa),
    ("ipac-en", _english_sounds),
    ("respell", _respelled),
    ("nihongo | nihongo2 | nihongo3 | nihongo krt", _japanese),
    ("as of", _as_of),
    ("birth date | birth date and age | birth-date | death date | death date and age | death-date | start date | "
     "start date and age | end date | release date | film date | dts | date | bda | dda | dob | launch date", _date),
    ("age | age in years | ageyears", _age),
    ("coord", _coordinates),
    ("population density | pop density | popdensity", _density),
    ("oldstyledate", lambda call: f"{call.text(1)} [O.S. {call.text(3)}] {call.text(2)}"),
    ("circa | c. | ca. | ca", lambda call: "–".join(f"c. {text}".strip() for text in call.texts() or [""])),
    ("floruit | fl. | fl", lambda call: f"fl. {'–'.join(call.texts())}".strip()),
    ("reign | r.", lambda call: f"r. {'–'.join(call.texts())}".strip()),
    ("née | nee", _around("née ")),
    ("quote | blockquote | cquote | quotation | bquote | rquote | quote box | pull quote | block quote", _quote),
    ("poemquote | poem | verse | poem quote", lambda call: f"\n\n{call.named('text') or call.text(1)}\n\n"),
    ("frac | sfrac | fraction | tfrac", _fraction),
    ("chem | chem/link", _chemical),
    ("chem2", _formula),
    ("e", lambda call: f"×10{superscript(call.text(1))}"),
    ("10^", lambda call: f"10{superscript(call.text(1))}"),
    ("sup | su", lambda call: superscript(call.text(1))),
    ("sub", lambda call: subscript(call.text(1))),
    ("sqrt | radic", _around("√")),
    ("gaps", _joined("")),
    ("nuclide2 | nuclide | isotope", lambda call: f"{call.text(1)}-{call.text(2)}"),
    ("railgauge | track gauge", lambda call: re.sub(r"(?<=\d)(?=mm|in|ft|m)", " ", call.text(1))),
    ("ordinal | nth | ord", _ordinal),
    ("height", _height),
    ("usd | us$ | united states dollar | us dollar", _around("US$")),
    ("gbp | £ | pound sterling", _around("£")),
    ("eur | € | euro", _around("€")),
    ("inr | ₹ | indian rupee", _around("₹")),
    ("jpy | ¥ | yen", _around("¥")),
    ("cad | canadian dollar | ca$", _around("C$")),
    ("aud | a$ | australian dollar", _around("A$")),
    ("currency", lambda call: f"{call.text(1)} {call.text(2) or 'USD'}"),
    ("uss | hms | ss | rms | hmas | hmcs | hmnzs | ins | mv | ms | usns | uscgc | sms | hnlms", _ship),
    ("ship", lambda call: f"{call.text(1)} {call.text(2)}".strip()),
    ("sclass | sclass-", lambda call: f"{call.text(1)}-class {call.text(2)}"),
    ("bibleref | bibleverse | bibleref2", lambda call: f"{call.text(1)} {call.text(2)}"),
    ("sortname", lambda call: f"{call.text(1)} {call.text(2)}"),
    ("lit | literally | literal translation", lambda call: f"lit. '{call.text(1)}'"),
    ("gloss", _around("'", "'")),
    ("keypress | key press | key", _joined("+")),
    ("hlist | comma separated entries | cslist", _joined(", ")),
    ("ubl | unbulleted list | ordered list | bulleted list | blist | ublist", _lines),
    ("music", lambda call: {"flat": "♭", "sharp": "♯", "natural": "♮"}.get(call.text(1), call.text(1))),
    ("snd | spnd | spaced ndash | spaced en dash | ndashb | spndash", _constant(" – ")),
    ("mdashb | spaced mdash | spaced em dash", _constant(" — ")),
    ("ndash | en dash | nd", _constant("–")),
    ("mdash | em dash | md", _constant("—")),
    ("nbsp | space | spaces | thinsp | thin space | hair space | hairsp | dot", _constant(" ")),
    ("middot | · | bullet", _constant(" · ")),
    ("eqm", _constant("⇌")),
    ("us patent | patent us", _around("U.S. patent ")),
    ("dagger", _constant("†")),
    ("double dagger", _constant("‡")),
    ("number sign | hash-tag", _constant("#")),
    ("!", _constant("|")),
    ("=", _constant("=")),
    ("'", _constant("'")),
    ("'s", _constant("'s")),
    ("' \" | '\"", _constant("' \"")),
    ("\" ' | \"'", _constant("\" '")),
    ("-\"", _constant('"')),
    ("zwj | zwnj | wbr | shy | zwsp | clear", _constant("")),
    ("-) | paragraph break | pb | paragraph | break | br", _constant("\n\n")),
)  # fmt: skip


def handler(name: str) -> Handler | None:
    """Of a template, by its name in lower case; families go by their prefix."""
    if name.startswith("lang-"):
        return BY_NAME.get(name, _word(1))
    if name.startswith("ipa-"):
        return lambda call: f"[{call.text(1)}]" if call.text(1) else ""
    return BY_NAME.get(name)
