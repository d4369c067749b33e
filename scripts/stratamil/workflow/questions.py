"""What init asks on a terminal: each question again until the study file can have its answer."""

import re
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from stratamil.core import schema
from stratamil.core.errors import UserError, few, in_rows, visible
from stratamil.core.names import class_code, natural, spelling
from stratamil.core.wording import counted, in_list
from stratamil.workflow import config_checks, propose_labels, propose_names
from stratamil.workflow.propose_labels import Meaning
from stratamil.workflow.propose_names import Names

YES = ("y", "yes", "j", "ja", "o", "oui", "s", "si", "sí")
NO = ("n", "no", "nein", "non")
SHOWN = 12  # columns and codes that a line names


@dataclass(frozen=True)
class Questions:
    """The questions on what was guessed; answers go into `names` and `meaning`.

    table: the labels, all values as text. splits: returns the settings of the splits of a Meaning, which it may change,
    or raises UserError. agreed: codes that somebody has excluded.
    """

    table: pd.DataFrame
    names: Names
    meaning: Meaning
    splits: Callable[[Meaning], dict[str, Any]]
    agreed: list[str] = field(default_factory=list)

    def case(self) -> str | None:
        """Ask for the column of the case ids; returns another one, with which all is to be proposed again."""
        others: list[str] = []

        def take(answer: str) -> None:
            if answer.lower() not in YES and self.column(answer) != self.names.case_column:
                others.append(answer)

        self.one("case", self.names.guesses, "y, or another column", take)
        return others[0] if others else None

    def ask(self) -> None:
        """Ask what was guessed, the columns first. An empty answer keeps the guess, and its mark in the file."""
        self.one("class", self.meaning.guesses, "y, or another column", self.class_column)
        yes = "y" if self.meaning.patient_column else "y if each case is one patient"
        how = f"{yes}, another column, or none if patients are not known"
        self.one("patient", self.meaning.guesses, how, self.patient_column)
        self.one("site", self.meaning.guesses, "y, or none", self.site_column)
        with suppress(UserError):  # told when all questions are answered
            self.splits(self.meaning)
        how = "y, or the codes to exclude"
        how += "; the classes come next" if "classes" in self.meaning.guesses else ""
        how += "; Ctrl-C to correct the table first" if self.meaning.open else ""
        self.one("excluded", self.meaning.guesses, how, self.excluded, "Exclude what is named here?")
        guessed = "classes" in self.meaning.guesses
        print(visible(f"{'Proposed classes' if guessed else 'Classes'}: {self.proposed()}"))
        print(
            "The first is the absence of the others, the last the positive one"
            + "; codes that are in none are excluded. Quote names with spaces." * guessed
        )
        self.one("classes", self.meaning.guesses, "y, or your own in this form", self.classes)
        self.one("stains", self.names.guesses, "y, or all stains to use, with commas between them", self.stains)
        how = (
            "y, or swap to exchange slice and patch" if "for the patch" in self.names.guesses.get("slice", "") else "y"
        )
        self.one("slice", self.names.guesses, how, self.slices)

    def one(
        self, what: str, guesses: dict[str, str], how: str, take: Callable[[str], None], question: str = "Right?"
    ) -> None:
        """Ask one question, if there is such a guess, until `take` accepts the answer."""
        if what not in guesses:
            return
        told = guesses[what].replace(propose_labels.MISTYPED, ", perhaps mistyped").replace(propose_labels.NO_SITE, "")
        told = visible(told[0].upper() + told[1:])
        while answer := input(f"{told}. {question} ({how}; Enter to check it later) ").strip():
            try:
                take(answer)
            except UserError as error:
                for problem in error.problems:
                    print(f"  {visible(problem)}")
            else:
                del guesses[what]
                return

    def class_column(self, answer: str) -> None:
        if answer.lower() not in YES:
            propose_labels.take_class(self.meaning, self.table, self.names.case_column, self.column(answer))

    def slices(self, answer: str) -> None:
        """Take or exchange what was taken for slice and patch; the name of a part says that it is the patch."""
        fields = self.names.shape.fields if self.names.shape else ()
        slice_ = [str(fields[i]) for i in self.names.span]
        if answer.lower() != "swap" and [answer] != slice_:
            patch = [str(fields[i]) for i, group in self.names.groups.items() if "(?P<patch>" in group]
            confirmed("y" if [answer] == patch else answer)
            return
        other = propose_names.swapped(self.names)
        self.names.pattern, self.names.groups, self.names.span = other.pattern, other.groups, other.span

    def site_column(self, answer: str) -> None:
        if answer.lower() in ("none", "null", *NO):
            self.meaning.site = None
        else:
            confirmed(answer)

    def patient_column(self, answer: str) -> None:
        """Take a column for the patient; that of the case says that each case is one."""
        if answer.lower() in NO and answer not in self.table:
            raise UserError("then name the column of the patient, or answer none if patients are not known")
        if answer.lower() == "none":
            self.meaning.patient_column = None
            return
        if answer.lower() in YES:
            answer = self.meaning.patient_column or self.names.case_column
        if self.column(answer) == self.meaning.class_column:
            raise UserError(f"column {answer!r} is that of the class: name that of the patient")
        if empty := list(self.table.index[self.table[answer] == ""]):
            raise UserError(f"column {answer!r} is empty in {in_rows(empty, 6)}: fill it in first, or name another")
        self.meaning.patient_column = answer

    def excluded(self, answer: str) -> None:
        """Exclude all codes that are named, or some; of the others the dry run will name the rows."""
        proposed = {class_code(code): code for code in [*self.meaning.excluded, *self.meaning.open] if code}
        chosen = list(proposed.values()) if answer.lower() in YES else self.codes(answer)
        if unknown := [code for code in chosen if class_code(code) not in proposed]:
            known = few(map(in_list, proposed.values()), SHOWN) or "nothing else"
            raise UserError(
                f"{few(map(repr, unknown))} is not asked about here: answer y, or some of {known}; codes that you "
                "leave out of the classes are excluded, too"
            )
        chosen = [proposed[class_code(code)] for code in chosen]
        self.meaning.open[:] = [code for code in proposed.values() if code not in chosen]
        self.agreed.extend(chosen)

    def stains(self, answer: str) -> None:
        """Keep all that were taken for stains, or some; patches of the others are left out."""
        if answer.lower() in YES:
            return
        known = {spelling(name): name for name in self.names.stains}
        chosen = [word.strip() for word in answer.split(",")]
        if unknown := [word for word in chosen if spelling(word) not in known]:
            raise UserError(f"no stain {few(map(repr, unknown))}: choose from {few(known.values(), SHOWN)}")
        kept = {known[spelling(word)] for word in chosen}
        self.names.stains = {name: spellings for name, spellings in self.names.stains.items() if name in kept}

    def column(self, answer: str) -> str:
        """Return the name of a column. Raises UserError with those that there are."""
        if answer not in self.table and answer.lower() in NO:
            raise UserError(f"then name the column: {few(map(repr, filter(None, self.table)), SHOWN)}")
        if answer not in self.table:
            raise UserError(f"no column {answer!r}: choose from {few(map(repr, filter(None, self.table)), SHOWN)}")
        return answer

    def classes(self, answer: str) -> None:
        """Take the classes and their codes: `benign=1 high-grade=3,4`."""
        classes = self.meaning.classes if answer.lower() in YES else self.parsed(answer)
        tried = replace(self.meaning, classes=dict(classes), guesses={}, open=[])
        cohort = {"classes": [{name: codes} for name, codes in classes.items()], "excluded_codes": tried.excluded}
        if problems := config_checks.problems({"cohort": cohort}, schema.read()):
            raise UserError(*problems)
        self.splits(tried)
        self.meaning.classes = classes
        if answer.lower() in YES:
            return
        self.meaning.open.clear()
        self.meaning.guesses.pop("excluded", None)
        if new := [code for code in self.meaning.excluded if code not in self.agreed]:  # one of them may be forgotten
            told = few([f"{in_list(code)} ({counted(self.meaning.counts[code], 'case')})" for code in new], SHOWN)
            self.meaning.guesses["excluded"] = f"codes in no class, whose cases are left out: {told}"
            self.one("excluded", self.meaning.guesses, "y to exclude them", self.excluded)

    def parsed(self, answer: str) -> dict[str, list[str]]:
        """Return what an answer says: class -> codes as the table spells them."""
        form = f"write each class with its codes, like {self.example()}"
        try:
            # Commas and semicolons between classes, and spaces between codes, are meant well.
            words = [word.strip(",;") for word in shlex.split(re.sub(r"\s*=\s*", "=", answer))]
        except ValueError:
            raise UserError(f"a quotation mark is not closed: {form}") from None
        pairs: list[list[str]] = []
        for word in filter(None, words):
            name, sign, codes = word.partition("=")
            if sign or not pairs:
                pairs.append([name, codes])
            else:
                pairs[-1][1] += f" {word}"
        classes = {name.strip(): self.codes(codes) for name, codes in pairs}
        if len(classes) < max(2, len(pairs)) or not all(name and all(codes) for name, codes in classes.items()):
            raise UserError(f"not two or more classes with their codes: {form}")
        spelt = {class_code(code): code for code in self.meaning.counts}
        unknown = [code for codes in classes.values() for code in codes if class_code(code) not in spelt]
        if unknown:
            known = few(map(in_list, sorted(self.meaning.counts, key=natural)), SHOWN)
            raise UserError(
                f"no case has code {few(map(repr, unknown))}: choose from {known}; quote a name with spaces"
            )
        return {name: [spelt[class_code(code)] for code in codes] for name, codes in classes.items()}

    def codes(self, text: str) -> list[str]:
        """Return the codes in a text: what is between commas, or between spaces where no code has these.

        A code may have commas itself: of what begins at a place the longest that is a code is taken.
        """
        known = {_unspaced(code): code for code in self.meaning.counts}
        parts, codes = [part.strip() for part in text.split(",")], []
        while parts:
            lengths = (n for n in range(len(parts), 0, -1) if _unspaced(",".join(parts[:n])) in known)
            n = next(lengths, 0)
            codes += [known[_unspaced(",".join(parts[:n]))]] if n else parts[0].split() or [""]
            del parts[: max(1, n)]
        return codes

    def example(self) -> str:
        """Return an answer of two classes, of which the second has two codes where there are three."""
        codes = sorted(self.meaning.counts, key=natural)
        return f"one={_quoted(codes[0])} other={_quoted(','.join(codes[1:3]))}"

    def proposed(self) -> str:
        return " ".join(_quoted(f"{name}={','.join(codes)}") for name, codes in self.meaning.classes.items())


def _unspaced(code: str) -> str:
    """Return the normal form of a code without the spaces around its commas."""
    return re.sub(r"\s*,\s*", ",", class_code(code))


def _quoted(word: str) -> str:
    """Return a word as shlex.split reads it, quoted only where it must be."""
    return shlex.quote(word) if not word or re.search(r"[\s'\"\\]", word) else word


def confirmed(answer: str) -> None:
    if answer.lower() not in YES:
        raise UserError("answer y, or press Enter and change it in the file")
