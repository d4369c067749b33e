"""Propose what the columns of a labels table mean: class, patient, site and age; and which codes are which class."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from stratamil.cohort.columns import AGE, SEX
from stratamil.cohort.labels import bare
from stratamil.core import cells, schema
from stratamil.core.errors import UserError, few, in_rows
from stratamil.core.ids import unpadded
from stratamil.core.names import class_code, natural
from stratamil.core.wording import counted, in_list

MOST_CLASSES = 10
MISTYPED = ": a typing error? Correct the table, or add the code to a class or here"  # a question has answers instead
NO_SITE = "; if not, write null"  # as above
NO_PATIENT = "no column looks like the patient, so each case counts as one"
CLASS = re.compile(
    r"class|klasse|label|diagnos|(\b|_)dx(\b|_)|grade|grading|target|outcome|status|malign|dignit|subtype|respon|"
    r"tumou?r|befund|finding|histolog|phenotyp",
    re.I,
)
# What is no class: who looked at a case, whether it may be used, where it was, in which set.
NO_CLASS = re.compile(
    r"patholog(ist|e\b)|reader|rater|observer|reviewer|befunder|arzt|doctor|surgeon|initials|k[üu]rzel|consent|einwillig|"
    r"seite|(\b|_)side(\b|_)|lateral|lokalis|location|(\b|_)(split|set|fold|subset)(\b|_)|bank",
    re.I,
)
SETS = re.compile(r"train\w*|val\w*|test\w*|dev|hold.?out|left|right|links|rechts|[lr]|li|re", re.I)
PATIENT = re.compile(
    r"patient|subject|person|participant|donor|individual|^(pid|mrn|upi|ipp|nip|nhc|nhs\W?\w*)$|versichert|hosp\w*\W?(no|nr|num\w*|id)$|^pat\W*_*(nr|no|id|num\w*|code|key|kennung|ident\w*)?\W*$",
    re.I,
)
OF_PATIENT = re.compile(
    r"(\b|_)age(\b|_)|alter|sex|gender|geschl|datum|date|birth|geburt|consent|einwillig|weight|gewicht|height|gr[öo]e?ß|"
    r"bmi",
    re.I,
)
SITE = re.compile(r"site|cent(er|re)|zentrum|hospital|h[oô]pital|[ck]lini[ckq]|institut|scanner|lab(?!el)", re.I)
CASE = re.compile(
    r"case|fall|slide|patient|subject|specimen|accession|image|^id$|_id$|einsend|eingang|journal|histo\W?n|pr[äa]e?parat|prob",
    re.I,
)
DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}([ T].*)?")
PER_PATIENT = 20  # rows of a patient on average, at most
UNIQUE = 0.9  # share of a column's values that differ, for it to be ids
# Words for what is looked for, and for its absence.
POSITIVE = re.compile(
    r"^(pos\w*|yes|ja|oui|s[ií]|true|tumou?r\w*|malign\w*|malin\w*|cancer\w*|carcinoma\w*|melanom\w*|metast\w*|mut\w*|msi(?:-?h)?|d-?mmr|high\W?\w*|case|b[öo]e?sartig\w*)$",
    re.I,
)
NEGATIVE = re.compile(
    r"^(neg\w*|no|nein|false|normal\w*|benign\w*|b[ée]nin\w*|non\W?\w*|wild\w*|wt|mss|p-?mmr|low\W?\w*|control|healthy|primary|n[ae]v\w*|gutartig\w*)$",
    re.I,
)
# Words for a case that nobody could place.
UNCLEAR = re.compile(
    r"^(u[0-9]?|unk\w*|uncl\w*|uncert\w*|undet\w*|unbek\w*|unsich\w*|inconnu\w*|"
    r"ind[eé]t\w*|non interpr\w*|not interpr\w*|desconoc\w*|equivoc\w*|ambig\w*|insuff\w*|"
    r"inadequate|unsatisf\w*|nicht beurteil\w*|"
    r"fragl\w*|n\W?[ad]\W?|nan|missing|exclu\w*|tbd|k\W?\s?a\W?|[?-]+|not (known|available|assessed|determined|done))$",
    re.I,
)


@dataclass
class Meaning:
    """What the columns mean.

    classes: name -> codes, the positive class last. counts: code -> cases. others: what -> column, of
    which `site` may be one: the hospital or scanner, known of every case. guesses: to check. open: codes of a
    single case, neither of a class nor excluded before somebody has said that they are not mistyped. empty: rows
    without a class.
    """

    class_column: str | None
    classes: dict[str, list[str]]
    counts: dict[str, int]
    patient_column: str | None
    others: dict[str, str]
    guesses: dict[str, str] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)
    site: str | None = None
    empty: list[int] = field(default_factory=list)

    @property
    def excluded(self) -> list[str]:
        """The codes of the table that are of no class, but those that are open; "" is that of rows without a class."""
        used = {code for codes in self.classes.values() for code in codes} | set(self.open)
        codes = sorted((code for code in self.counts if code not in used), key=natural)
        return codes + [""] * bool(self.empty)


def likely_cases(table: pd.DataFrame) -> list[str]:
    """Return the columns that may hold case ids, the likeliest first: by name, then by how many values differ.

    A column of numbers that recur, such as the age, is none beside one of different ids, unless it is called so; one
    that numbers the rows comes last.
    """
    filled = [name for name in table if name and table[name].astype(bool).any()]
    if any(_are_ids(table[name]) for name in filled):
        filled = [name for name in filled if CASE.search(name) or PATIENT.search(name) or not _recur(table[name])]
    place = {name: i for i, name in enumerate(table)}
    rank = {name: (_numbers_rows(table[name]), not CASE.search(name), not PATIENT.search(name)) for name in filled}
    return sorted(filled, key=lambda name: (*rank[name][:2], -table[name].nunique(), rank[name][2], place[name]))


def also_cases(table: pd.DataFrame, case_column: str, cases: Collection[str]) -> str | None:
    """Return another column that has all these cases, but in other rows; the table alone cannot tell which is right.

    cases: ids in the names of files.
    """
    own, there = table[case_column].map(unpadded), {unpadded(case) for case in cases}
    for name in table:
        other = table[name].map(unpadded)
        if name != case_column and there & set(own) <= set(other) and not other.equals(own):
            return name
    return None


def propose(table: pd.DataFrame, case_column: str) -> Meaning:
    """Return what the columns of a labels table mean.

    table: all values as text, a row a case or several. case_column: what `propose_names` found.
    """
    columns = [name for name in table if name and name != case_column]
    patient = next((name for name in columns if _are_patients(name, table[name])), None)
    site = next((name for name in columns if SITE.search(name)), None)
    age = next((name for name in columns if AGE.search(name) and _numbers(table[name])), None)
    sex = next((name for name in columns if SEX.search(name)), None)
    day = next((name for name in columns if _are_dates(table[name])), None)
    others = {what: name for what, name in (("site", site), ("age", age), ("sex", sex), ("date", day)) if name}
    meaning = Meaning(None, {}, {}, patient, others)
    if not patient and PATIENT.search(case_column):
        patient = meaning.patient_column = case_column
    again = [name for name in columns if _are_ids_again(table[name])]
    none = NO_PATIENT + (f" (ids that recur are in {few(map(repr, again))})" if again else "")
    meaning.guesses["patient"] = f"column {patient!r} taken for the patient, by its name" if patient else none
    if site and _are_sites(table[site]):
        meaning.site = site
        meaning.guesses["site"] = f"column {site!r} taken for the hospital or scanner{NO_SITE}"
    taken = {patient, site, age, day}
    candidates = [name for name in columns if name not in taken and 2 <= _codes(table[name]) <= MOST_CLASSES]
    candidates.sort(key=lambda name: _unlike_class(name, table[name]))
    if candidates:
        meaning.class_column = candidates[0]
        _not_other(meaning, candidates[0])
        rest = [name for name in candidates[1:] if not (_no_class(name, table[name]) or SEX.search(name))]
        if rest or not CLASS.search(candidates[0]) or _no_class(candidates[0], table[candidates[0]]):
            meaning.guesses["class"] = f"column {candidates[0]!r} taken for the class" + (
                f"; others: {few(candidates[1:])}" if candidates[1:] else ""
            )
        _map(meaning, table, case_column)
    return meaning


def _unlike_class(name: str, column: pd.Series) -> tuple:
    """Return a sort key that has the likeliest class first: by its name, by words for a finding, by few codes."""
    worded = any(POSITIVE.match(text) or NEGATIVE.match(text) for text in column)
    named = (_no_class(name, column), not CLASS.search(name), bool(SEX.search(name)))
    return *named, not worded, _codes(column)


def _no_class(name: str, column: pd.Series) -> bool:
    return bool(NO_CLASS.search(name)) or all(map(SETS.fullmatch, filter(None, column)))


def _are_patients(name: str, column: pd.Series) -> bool:
    """Return whether a column can be that of the patient: by its name, and by more values than a property has."""
    named = PATIENT.search(name) and not OF_PATIENT.search(name)
    n = column.nunique()
    return bool(named) and n >= len(column) / PER_PATIENT and (n > 2 or len(column) < 5)


def unused(table: pd.DataFrame, columns: Iterable[str | None], meaning: Meaning) -> list[str]:
    """Return the columns that mean nothing to the study file. columns: of the case, and perhaps of files."""
    used = {*columns, meaning.class_column, meaning.patient_column, *meaning.others.values()}
    return [name for name in table if name and name not in used]


def take_class(meaning: Meaning, table: pd.DataFrame, case_column: str, column: str) -> None:
    """Let `column` be that of the class, with a new mapping of its codes. Raises UserError if it cannot be."""
    if not 2 <= _codes(table[column]) <= MOST_CLASSES or column == case_column:
        able = [name for name in table if name and name != case_column and 2 <= _codes(table[name]) <= MOST_CLASSES]
        raise UserError(
            f"column {column!r} has {_codes(table[column])} different values, a class needs 2 to {MOST_CLASSES}: "
            f"choose from {few(map(repr, able), 8)}"
        )
    meaning.class_column, meaning.counts, meaning.open = column, {}, []
    _not_other(meaning, column)
    if meaning.patient_column == column:
        meaning.patient_column, meaning.guesses["patient"] = None, NO_PATIENT
    for what in ("classes", "excluded"):
        meaning.guesses.pop(what, None)
    _map(meaning, table, case_column)


def _not_other(meaning: Meaning, column: str) -> None:
    """Forget that the column of the class could be the site, age or sex."""
    meaning.others = {what: name for what, name in meaning.others.items() if name != column}
    if meaning.site == column:
        meaning.site = None
        del meaning.guesses["site"]


def _are_sites(column: pd.Series) -> bool:
    """Return whether a column can be that of sites: filled in everywhere, with several cases a value on average."""
    absent = {bare(word) for word in schema.defaults("cohort")["missing_words"]} | {""}
    names = column.map(bare)
    return not names.isin(absent).any() and 2 <= names.nunique() <= len(names) / 2


def _are_ids(column: pd.Series) -> bool:
    """Tell whether nearly all values differ, and have letters and digits or none but digits."""
    known = column[column != ""]
    told = known.map(lambda text: bool(re.search(r"[0-9]", text)) and not DATE.fullmatch(text))
    return len(known) > 1 and known.nunique() > UNIQUE * len(known) and told.mean() > UNIQUE


def _are_ids_again(column: pd.Series) -> bool:
    """Return whether a column has ids most of which differ, and some recur, as those of patients do."""
    known = column[column != ""]
    different = known.nunique() / max(1, len(known))
    told = known.map(lambda text: bool(re.search(r"[0-9]{2}", text)) and not DATE.fullmatch(text))
    return 0.5 < different < 1 and told.mean() > UNIQUE and known.map(len).mean() > 3


def _numbers_rows(column: pd.Series) -> bool:
    """Return whether a column has 1, 2, ... in the order of rows."""
    return list(column) == [str(i) for i in range(1, len(column) + 1)]


def _recur(column: pd.Series) -> bool:
    return _numbers(column) and column[column != ""].duplicated().any()


def _codes(column: pd.Series) -> int:
    return len({class_code(text) for text in column if text})


def _are_dates(column: pd.Series) -> bool:
    filled = column[column != ""]
    return len(filled) > len(column) / 2 and filled.nunique() > 1 and cells.days(filled) is not None


def _numbers(column: pd.Series) -> bool:
    return cells.numbers(column[column != ""]).notna().all()


def _map(meaning: Meaning, table: pd.DataFrame, case_column: str) -> None:
    """Fill in the classes: one for each code, the positive one last."""
    codes = table.drop_duplicates(case_column)[meaning.class_column]
    meaning.empty = list(table.index[table[meaning.class_column] == ""])
    if meaning.empty:
        told = f"no class in {in_rows(meaning.empty)}"
        meaning.guesses["excluded"] = f'{told}, so left out by ""'
    counts = Counter(text for text in codes if text)
    first: dict[str, str] = {}
    for text, n in counts.items():
        spelt = first.setdefault(class_code(text), text)
        meaning.counts[spelt] = meaning.counts.get(spelt, 0) + n
    ordered = sorted(meaning.counts, key=_order)
    own = _own(meaning, ordered)
    if own:
        meaning.classes, meaning.guesses["classes"] = own, "codes read as in the workflow's defaults"
        return
    unclear = [text for text in ordered if UNCLEAR.match(text)]
    if unclear and len(ordered) - len(unclear) >= 2:
        ordered = [text for text in ordered if text not in unclear]
        rows = few([f"{in_list(text)} ({counted(meaning.counts[text], 'case')})" for text in unclear])
        told = [meaning.guesses["excluded"]] if "excluded" in meaning.guesses else []
        meaning.guesses["excluded"] = "; ".join([*told, f"excluded, for the name says unclear: {rows}"])
    told = [bool(POSITIVE.match(text)) - bool(NEGATIVE.match(text)) for text in ordered]
    named = {text: text if _number(text) is None else f"class {text}" for text in ordered}
    meaning.classes = {named[text]: [text] for text in ordered}
    if not (len(ordered) == 2 and told == [-1, 1]):
        meaning.guesses["classes"] = "each code its own class, the last one positive"


def _own(meaning: Meaning, codes: list[str]) -> dict[str, list[str]] | None:
    """Return the workflow's own classes, if the column has its name and no other codes than these."""
    settings = schema.defaults("cohort")
    if meaning.class_column != settings["class_column"]:
        return None
    own = {name: given for entry in settings["classes"] for name, given in entry.items()}
    classes = {name: [code for code in given if code in codes] for name, given in own.items()}
    known = {code for given in own.values() for code in given} | set(settings["excluded_codes"])
    return classes if all(classes.values()) and set(codes) <= known else None


def without_small(meaning: Meaning, patients: Counter, fewest: int, first: Mapping[str, str]) -> None:
    """Take the classes of fewer patients than `fewest` out of a Meaning, and mark it. patients: class -> number.

    The code of a single case may be a mistyped one, so it is not excluded. first: code -> its first case and row.
    """
    small = [name for name in meaning.classes if patients[name] < fewest]
    if small and len(meaning.classes) - len(small) >= 2:
        codes = [code for name in small for code in meaning.classes.pop(name)]
        meaning.open = [*meaning.open, *(code for code in codes if meaning.counts[code] == 1)]
        rare = [
            f"{in_list(code)} ({counted(meaning.counts[code], 'case')})" for code in codes if code not in meaning.open
        ]
        told = [meaning.guesses["excluded"]] if "excluded" in meaning.guesses else []
        told += [f"excluded for few patients: {few(rare)}"] if rare else []
        if meaning.open:
            alone = few([f"{first[code]} alone has code {in_list(code)}" for code in meaning.open])
            told.append(f"{alone}{MISTYPED}")
        meaning.guesses["excluded"] = "; ".join(told)


def _number(text: str) -> float | None:
    number = cells.numbers(pd.Series([text])).iloc[0]
    return None if pd.isna(number) else float(number)


def _order(text: str) -> tuple:
    number = _number(text)
    if number is not None:
        return 0, number, text
    return 1, bool(POSITIVE.match(text)) - bool(NEGATIVE.match(text)), text.casefold()
