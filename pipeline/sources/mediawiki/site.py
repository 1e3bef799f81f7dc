"""What the head of a dump says about its wiki, and what every language calls files, categories and redirects.

A dump names its namespaces in the wiki's language, but not their older names, which links still use. Names and redirect
words are facts of MediaWiki's own message files (languages/messages/Messages*.php).
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.sources.base import InputFile, Range
from pipeline.sources.mediawiki.streams import pieces

HEAD_BYTES = 1 << 20  # where <siteinfo> has to end
FILE_NAMESPACES = ("-2", "6", "14")  # Media, File, Category
REDIRECT_ELEMENT_SINCE = (0, 4)  # export schema; older dumps have redirects in their text only

# Media, File, Category: in English, and in other languages' names of today and before
FILE_NAMES = frozenset(
    ("media", "file", "image", "category", "datei", "bild", "kategorie", "médias",
     "fichier", "catégorie", "archivo", "imagen", "categoría", "ficheiro", "imagem",
     "arquivo", "categoria", "immagine", "bestand", "afbeelding", "categorie",
     "plik", "grafika", "kategoria", "fil", "kategori", "tiedosto", "kuva",
     "luokka", "fájl", "kép", "kategória", "soubor", "súbor", "obrázok", "fișier",
     "imagine", "fişier", "dosya", "resim", "datoteka", "slika", "kategorija",
     "файл", "изображение", "категория", "медиа", "категорія", "зображення",
     "медія", "слика", "датотека", "категорија", "выява", "катэгорыя", "картинка",
     "αρχείο", "εικόνα", "κατηγορία", "ملف", "صورة", "تصنيف", "پرونده", "تصویر",
     "رده", "קובץ", "תמונה", "קטגוריה", "ファイル", "画像", "カテゴリ", "文件", "檔案", "图像",
     "圖像", "分类", "分類", "파일", "그림", "분류", "tập_tin", "hình", "thể_loại", "ไฟล์",
     "ภาพ", "หมวดหมู่", "चित्र", "श्रेणी", "চিত্র", "বিষয়শ্রেণী", "berkas",
     "gambar", "fitxer", "imatge", "fitxategi", "irudi", "dosiero", "dosyero",
     "kategorio", "vaizdas", "attēls", "pilt", "kategooria", "mynd", "flokkur")
)  # fmt: skip
_REDIRECT_WORDS = (
     "redirect", "redirection", "redirección", "redirecionamento", "redirecionar",
     "reencaminhamento", "weiterleitung", "rinvia", "rinvio", "doorverwijzing",
     "patrz", "przekieruj", "tam", "omdirigering", "omdirigér", "viderestilling",
     "ohjaus", "uudelleenohjaus", "átirányítás", "přesměruj", "presmeruj",
     "redirectare", "redirecţionare", "yönlendi̇rme", "yönlendirme",
     "перенаправление", "перенапр", "перенаправлення", "пренасочване", "виж",
     "преусмери", "преусмјери", "перанакіраванне", "ανακατευθυνση", "ανακατεύθυνση",
     "تحويل", "تغییر_مسیر", "تغییرمسیر", "הפניה", "転送", "リダイレクト", "重定向", "重新導向",
     "넘겨주기", "đổi", "เปลี่ยนทาง", "अनुप्रेषित", "পুনর্নির্দেশ", "alih", "lencongan",
     "birzuzendu", "redirección_a", "preusmjeri", "preusmeritev", "suuna",
     "pāradresācija", "peradresavimas", "tilvísun"
)  # fmt: skip
_REDIRECT = re.compile(
    rf"\s*#(?:{'|'.join(map(re.escape, _REDIRECT_WORDS))})\s*:?\s*\[\[([^\[\]|]{{1,255}})", re.IGNORECASE
)


@dataclass(frozen=True)
class Site:
    base: str  # URL of an article without its title, "" if unknown
    file_names: frozenset[str]  # lower case, spaces as underscores
    has_redirect_elements: bool
    namespaces: Mapping[str, str]  # name, as in file_names -> number

    def namespace_of(self, title: str) -> str:
        """For a dump too old to say so page by page: "0" where nothing before a colon names a namespace."""
        name, colon, _ = title.partition(":")
        return self.namespaces.get(_as_listed(name), "0") if colon else "0"


def read_site(file: InputFile) -> Site:
    """Of a dump without a readable head: no URL, the names of all languages."""
    text = _head(file).decode("utf-8", "replace")
    version = re.search(r'<mediawiki[^<>]*\bversion="(\d{1,4})\.(\d{1,4})"', text)
    text = text.partition("</siteinfo>")[0] if "</siteinfo>" in text else ""
    base = re.search(r"<base>([^<]*)/[^</]*</base>", text)
    listed = re.findall(r'<namespace key="(-?\d+)"[^>]*>([^<]+)</namespace>', text)
    namespaces = {_as_listed(html.unescape(name)): key for key, name in listed}
    files = {name for name, key in namespaces.items() if key in FILE_NAMESPACES}
    since = (int(version[1]), int(version[2])) if version else REDIRECT_ELEMENT_SINCE
    return Site(html.unescape(base[1]) + "/" if base else "", FILE_NAMES | files, since >= REDIRECT_ELEMENT_SINCE,
                namespaces)  # fmt: skip


def _as_listed(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def redirect_target(wikitext: str) -> str:
    """Of a page in a dump too old to say so itself; "" if it is none."""
    match = _REDIRECT.match(wikitext[:1000])
    return match[1].strip() if match else ""


def _head(file: InputFile) -> bytes:
    """The beginning of the dump in UTF-8; shorter where it cannot be read."""
    head = b""
    for piece in pieces(Range(file, file.num_bytes)):
        head += piece.data
        if piece.damage or len(head) >= HEAD_BYTES or b"</siteinfo>" in head:
            break
    return head[:HEAD_BYTES]
