"""Every template that carries prose, with the text that a reader sees of it."""

import pytest

from pipeline.sources.mediawiki.templates import BY_NAME, handler
from pipeline.sources.mediawiki.wikitext import MAX_NODES, to_text

WORD = (
    "nowrap | nobr | nobreak | small | big | sc | sc2 | smallcaps | smaller | larger | midsize | resize | abbr | "
    "abbrlink | abbrv | tooltip | em | strong | uc | lc | ucfirst | lcfirst | not a typo | sic | typo | linktext | "
    "code | mono | kbd | samp | var | mvar | math | tmath | vanchor | visible anchor | vr | nobold | noitalic | "
    "nonitalic | italics correction | italic | bold | underline | u | s | strikethrough | xt | mxt | !xt | lang-rus | "
    "flag | flagcountry | sclass2 | bdi | wikt-lang | ill | interlanguage link | illm | link-interwiki | center | "
    "align | block indent | ltr | rtl-para | proper name | ship name | dab link | plainlist | flatlist | stack | nwr | "
    "crossreference | birth year and age | death year and age"
)
DATES = (
    "birth date | birth date and age | birth-date | death date | death date and age | death-date | start date | "
    "start date and age | end date | release date | film date | dts | date | bda | dda | dob | launch date"
)
TEMPLATES = [  # names, what is written behind them, what is read
    ("convert | cvt", "|1300|mi|km", "1300 mi"),
    ("convert | cvt", "|3|to|5|e6km2|sqmi|abbr=on", "3 to 5 million km²"),
    ("convert | cvt", "|6|ft|2|in|m", "6 ft 2 in"),
    ("convert | cvt", "|10|mi|km|adj=on", "10-mi"),
    ("val", "|1.25|0.02|e=9|u=kg", "1.25±0.02×10⁹ kg"),
    ("formatnum | format number | num | fnum | formatprice | format price", "|1234567.5", "1,234,567.5"),
    ("lang | langx | script | rtl-lang | color | font color | background color | bg | sort", "|fr|le mot", "le mot"),
    ("lang", "|2=le mot|1=fr", "le mot"),  # by number, in any order; of two the last one counts
    ("lang", "|fr|un mot|2=le mot", "le mot"),
    ("transl | transliteration | translit | columns-list", "|ru|slovo", "slovo"),
    (WORD, "|the word|other", "the word"),
    ("angbr | angbr ipa | angle bracket", "|a", "⟨a⟩"),
    ("ipa | ipaslink | ipalink | ipablink | ipa link", "|fuː", "fuː"),
    ("ipa | ipaslink | ipalink | ipablink | ipa link", "|de|ˈaʁtʊʁ", "ˈaʁtʊʁ"),
    ("ipac-en", "|pron|n|ɪ|m|_|a", "/nɪm a/"),
    ("ipac-en", "|US|'|n|ɪ|m|,_|,|ə|.|f|iː|En-us-nim.ogg", "/ˈnɪm, ˌə.fiː/"),
    ("ipac-en", "|audio=Nim.ogg|lang", ""),
    ("respell", "|PEN|stok", "PEN-stok"),
    ("respell", "|PEN|stok|,_|a|_|WEER", "PEN-stok, a WEER"),
    ("nihongo | nihongo2 | nihongo3 | nihongo krt", "|bayonet|銃剣|jūken", "bayonet (銃剣, jūken)"),
    ("as of", "|2010|3|lc=y", "as of March 2010"),
    (DATES, "|1990|5|3", "May 3, 1990"),
    (DATES, "|1990|05|03|df=y", "3 May 1990"),
    (DATES, "|1990", "1990"),
    ("age | age in years | ageyears", "|1950|6|2|2000|6|1", "49"),
    ("coord", "|13|19|N|169|9|W|type:event|name=Splashdown", "13°19′N 169°9′W"),
    ("coord", "|57|18|22.5|N|4|27|32|E|display=inline,title", "57°18′22.5″N 4°27′32″E"),
    ("coord", "|32.7|-86.7|region:US", "32.7°N 86.7°W"),
    ("coord", "|42|30|N|1|30|E|display=title", ""),
    ("coord", "", ""),
    ("population density | pop density | popdensity", "|3,645,257|640081.87|km2|sqmi|prec=1", "5.7 per km²"),
    ("population density | pop density | popdensity", "|5000|20.1|sqmi", "250 per square mile"),
    ("population density | pop density | popdensity", "|1|800", "0.0013 per km²"),
    ("population density | pop density | popdensity", "|0|800|km2", "0 per km²"),
    ("population density | pop density | popdensity", "|5000|0|km2", ""),
    ("oldstyledate", "|4 May|1676|24 April", "4 May [O.S. 24 April] 1676"),
    ("circa | c. | ca. | ca", "|1900|1910", "c. 1900–c. 1910"),
    ("floruit | fl. | fl", "|1200|1210", "fl. 1200–1210"),
    ("reign | r.", "|1200|1210", "r. 1200–1210"),
    ("née | nee", "|Smith", "née Smith"),
    ("quote | blockquote | cquote | quotation | bquote | rquote | quote box | pull quote | block quote",
     "|text=Let there be light.|author=A. Author", "\n\nLet there be light.\n\n— A. Author\n\n"),
    ("poemquote | poem | verse | poem quote", "|One\nTwo", "\n\nOne\nTwo\n\n"),
    ("frac | sfrac | fraction | tfrac", "|1|3|4", "1 3/4"),
    ("frac | sfrac | fraction | tfrac", "|2", "1/2"),
    ("chem | chem/link", "|Ge|9|2-", "Ge₉²⁻"),
    ("chem2", "|H2O", "H₂O"),
    ("e", "|6", "×10⁶"),
    ("10^", "|6", "10⁶"),
    ("sup | su", "|2", "²"),
    ("sub", "|2", "₂"),
    ("sqrt | radic", "|2", "√2"),
    ("gaps", "|1|234|567", "1234567"),
    ("nuclide2 | nuclide | isotope", "|uranium|235", "uranium-235"),
    ("railgauge | track gauge", "|1435mm", "1435 mm"),
    ("ordinal | nth | ord", "|112", "112th"),
    ("ordinal | nth | ord", "|23", "23rd"),
    ("height", "|ft=6|in=2", "6 ft 2 in"),
    ("usd | us$ | united states dollar | us dollar", "|50", "US$50"),
    ("gbp | £ | pound sterling", "|50", "£50"),
    ("eur | € | euro", "|50", "€50"),
    ("inr | ₹ | indian rupee", "|50", "₹50"),
    ("jpy | ¥ | yen", "|50", "¥50"),
    ("cad | canadian dollar | ca$", "|50", "C$50"),
    ("aud | a$ | australian dollar", "|50", "A$50"),
    ("currency", "|50|EUR", "50 EUR"),
    ("currency", "|50", "50 USD"),
    *((name, "|Ajax|22|6", f"{name.upper()} Ajax") for name in (
        "uss", "hms", "ss", "rms", "hmas", "hmcs", "hmnzs", "ins", "mv", "ms", "usns", "uscgc", "sms", "hnlms")),
    ("ship", "|German cruiser|Emden|1908", "German cruiser Emden"),
    ("sclass | sclass-", "|Iowa|battleship|1", "Iowa-class battleship"),
    ("bibleref | bibleverse | bibleref2", "|John|3:16", "John 3:16"),
    ("sortname", "|Ada|Lovelace", "Ada Lovelace"),
    ("lit | literally | literal translation", "|the mill", "lit. 'the mill'"),
    ("gloss", "|mill", "'mill'"),
    ("keypress | key press | key", "|Ctrl|C", "Ctrl+C"),
    ("hlist | comma separated entries | cslist", "|one|two", "one, two"),
    ("ubl | unbulleted list | ordered list | bulleted list | blist | ublist", "|one|two", "\n\n- one\n- two\n\n"),
    ("music", "|flat", "♭"),
    ("music", "|sharp", "♯"),
    ("music", "|natural", "♮"),
    ("snd | spnd | spaced ndash | spaced en dash | ndashb | spndash", "", " – "),
    ("mdashb | spaced mdash | spaced em dash", "", " — "),
    ("ndash | en dash | nd", "", "–"),
    ("mdash | em dash | md", "", "—"),
    ("nbsp | space | spaces | thinsp | thin space | hair space | hairsp | dot", "", " "),
    ("middot | · | bullet", "", " · "),
    ("eqm", "", "⇌"),
    ("us patent | patent us", "|1781541|A. Einstein", "U.S. patent 1781541"),
    ("dagger", "", "†"),
    ("double dagger", "", "‡"),
    ("number sign | hash-tag", "", "#"),
    ("!", "", "|"),
    ("=", "", "="),
    ("'", "", "'"),
    ("'s", "", "'s"),
    ("' \" | '\"", "", "' \""),
    ("\" ' | \"'", "", "\" '"),
    ('-"', "", '"'),
    ("zwj | zwnj | wbr | shy | zwsp | clear", "", ""),
    ("-) | paragraph break | pb | paragraph | break | br", "", "\n\n"),
    ("lang-de | lang-zh-hant", "|das Wort", "das Wort"),  # families
    ("ipa-all | ipa-fr", "|ɛ̃", "[ɛ̃]"),
]  # fmt: skip
CASES = [(name, written, text) for names, written, text in TEMPLATES for name in names.split(" | ")]


@pytest.mark.parametrize(("name", "written", "text"), CASES, ids=[f"{name}{written}" for name, written, _ in CASES])
def test_a_template_keeps_its_prose(name: str, written: str, text: str) -> None:
    rendered = to_text(f"a{{{{{name}{written}}}}}b")
    assert rendered.text == f"a{text}b"
    assert rendered.num_dropped == 0


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("Landed July 20, 1969 ({{age|1969|07|20}} years ago). Then", "Landed July 20, 1969. Then"),
        ("They landed {{age|1969|07|20|df=y}} years ago.", "They landed on 20 July 1969."),
        ("The miller (age {{age|1950|6|2}}) left.", "The miller (born June 2, 1950) left."),
        ("He is {{age|1950|6|2}} years old.", "He was born June 2, 1950."),
        ("The miller, aged {{nowrap|{{age|1950|6|2}} years}} and more", "The miller, born June 2, 1950 and more"),
        ("a {{age in years|1950|6|2}}-year-old mill", "a mill"),
        ("a {{age}} b {{age|x|6|2}} c", "a b c"),
    ],
)
def test_an_age_of_today_is_what_it_counts_from(written: str, text: str) -> None:
    assert to_text(written).text == text
    assert to_text(written + "\n* x" * MAX_NODES).text.partition("\n")[0] == text  # read without the parser


def test_every_template_of_the_list_is_tested() -> None:
    assert {name for name, _, _ in CASES if not name.startswith(("lang-", "ipa-"))} == {
        name for name in BY_NAME if not name.startswith(("lang-", "ipa-"))
    }
    assert handler("infobox river") is None
