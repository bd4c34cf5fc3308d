"""The word of a name that a greeting uses: the first name, or the whole name where a first name would be a guess.

Names do not state their parts. Titles are left out, because a greeting such as "Welcome, Dr" is wrong. Where the first
word is probably no first name (an article, a family name, a company, two people), the whole name is right in any case.
"""

from __future__ import annotations

import re
import unicodedata


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A single word after one of these is a family name: "Mr Smith".
_HONORIFICS = _words(
    """mr mister mrs ms miss mx herr frau frl hr fr monsieur madame mademoiselle mme mlle señor señora señorita sr sra srta
    senhor senhora signor signora signorina sig sigra maître maitre
    fru frøken fröken frk rouva dhr mevr mevrouw meneer pan pani pán paní bay bayan
    г-н г-жа господин госпожа السيد السيدة الآنسة מר גברת גב׳ גב'"""
)
# A single word after one of these is how people with the title are addressed: "Dr Jane".
_DEGREES = _words(
    """dr dra prof profa professor professorin assoc associate asst assistant adjunct pd
    dr-ing dr-habil doctor doktor dott dottssa dottoressa drssa magister dipl-ing dipl-kfm
    univ-prof priv-doz rndr mudr judr phdr mvdr mgr sir dame rev reverend д-р доктор проф профессор δρ
    دكتور دكتورة الدكتور الدكتورة ד״ר ד׳׳ר פרופ פרופ׳"""
)
_DEGREES_WITH_DOT = _words("ing mag bc doc hon avv arch ir")  # without one, possibly names
_NO_FIRST_NAMES = _DEGREES_WITH_DOT | _words(
    """the a an der die das le la les el los las il lo my our your
    von van vom zu zur zum de del della dela di da dos du des al ul ibn bin bint abu umm abd abdul abdel ter ten
    st ste md mohd muhd mst sk syed sheikh shaikh haji shri sri smt
    don doña dona lord lady ustad king queen prince princess earl duke dean judge bishop pastor imam rabbi father brother
    hotel restaurant bistro salon atelier praxis kanzlei radio tv museum theatre theater yoga travel reise reisen best top daily
    sister mother chef coach captain capt major general colonel col sgt lt dj mc master team company shop store studio
    club group family familie"""
)
_ORGANISATIONS = _words(
    """gmbh laden mbh ltd limited inc llc llp ag kg ug ohg gbr ev sarl sas srl spa bv nv plc corp corporation company co oy
    kft sro doo shop store studio studios media blog agency agentur team group gruppe club verlag magazine magazin
    reviews review deals coupons online digital marketing consulting solutions services foundation stiftung verein
    university school church cafe café bakery network labs press books design designs photography podcast"""
)
_JOINED = _words("and und et y e og och en ve i и")  # two people
_SUFFIXES = _words("phd md mba ma msc bsc ba jr sr ii iii iv esq dds cpa dr prof")
_AT_THE_END = _words("mr mrs ms mx miss")  # of a name that was typed last name first: "Smith Mr"
_GLUED_TITLE = re.compile(
    r"(?<![^\s.])((?:dr|prof|mr|mrs|ms|mx|mag|ing|hr|fr|sr|sra|sig)\.)(?=[^\W\d_]{2})", re.IGNORECASE
)
_NO_PERSON = re.compile(r"[&+/|–—()@:_]|\d")
# Names in these scripts begin with the family name, which alone is no greeting.
_FAMILY_NAME_FIRST = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"  # kana, ideographs, Hangul
)


def first_name_of(name: str) -> str:
    """Return the first name for a greeting, or the whole name if the first word is unlikely to be one."""
    return split_name(name)[0]


def split_name(name: str) -> tuple[str, str]:
    """Return the first name for a greeting and the words after it, without titles.

    Where the first name would be a guess, this is the whole name and an empty text.
    """
    words = name.split()
    whole = " ".join(words), ""
    if _NO_PERSON.search(name) or _FAMILY_NAME_FIRST.search(name):
        return whole
    words = _GLUED_TITLE.sub(r"\1 ", name).split()
    rest, is_family_name = _without_titles(_without_suffixes(words))
    if not rest or (len(rest) == 1 and (is_family_name or len(words) == 1)):
        return whole
    first, following = rest[0], [_key(word) for word in rest[1:]]
    letters = sum(unicodedata.category(character)[0] == "L" for character in first)
    if letters < 2 or first[-1] in ".,،" or _key(first) in _NO_FIRST_NAMES:
        return whole
    if any(word in _ORGANISATIONS | _JOINED | _AT_THE_END or word == "-" for word in following):
        return whole
    if any(word.endswith((",", "،")) for word in rest):
        return whole
    return first, " ".join(rest[1:])


def _without_suffixes(words: list[str]) -> list[str]:
    """Return the words without degrees and the like after a comma: "Jane Doe, PhD"."""
    at = next((index for index, word in enumerate(words[:-1]) if word.endswith(",")), None)
    if at is None or not all(_key(word) in _SUFFIXES for word in words[at + 1 :]):
        return words
    return [*words[:at], words[at].rstrip(",")]


def _without_titles(words: list[str]) -> tuple[list[str], bool]:
    """Return the words after all titles, and whether a single one is a family name."""
    index, is_family_name = 0, False
    while index < len(words):
        word, key = words[index], _key(words[index])
        if key in _HONORIFICS:
            is_family_name = True
        elif not (
            key in _DEGREES
            or (word.endswith(".") and key in _DEGREES_WITH_DOT)
            or (index and word.endswith(".") and word.islower())  # of a degree: "Dr. med.", "Dr. h. c."
        ):
            break
        index += 1
    return words[index:], is_family_name


def _key(word: str) -> str:
    return word.casefold().replace(".", "").rstrip(",")
