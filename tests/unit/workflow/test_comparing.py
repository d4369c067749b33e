"""A file that compares studies: names, and what is refused at the dry run."""

import pytest
import studies

from stratamil.core.errors import UserError
from stratamil.workflow import comparing


def test_names_are_given_or_those_of_the_folders():
    assert comparing.folders({"compare": ["r/a", {"tuned": "r/b"}]}) == {"a": "r/a", "tuned": "r/b"}
    assert comparing.folders({"compare": ["r/a", "s/a"]}) == {"r/a": "r/a", "s/a": "s/a"}
    with pytest.raises(UserError, match="a: two studies of this name"):
        comparing.folders({"compare": ["r/a", {"a": "r/b"}]})


def test_every_fault_is_a_line(tmp_path):
    one = studies.write(tmp_path / "one")
    given = {"compare": [str(one), {"again": f"{one}/../one"}, {"gone": str(tmp_path / "gone")}]}
    given["results"] = str(tmp_path / "out")
    lines = comparing.problems(given, given | {"train": {"lr": 1}, "report": {"columns": ["Age"], "seed": 1}})
    assert len(lines) == 3
    assert "the same settings name a study (train, report.columns)" in lines[0]
    assert lines[1].endswith("one: given 2 times: give each study once")
    assert lines[2].startswith(f"compare: {tmp_path / 'gone'}: no finished study or prediction: give ")
    given = {"compare": [str(one)], "results": str(one / "split_01")}
    assert (
        comparing.problems(given, given)[1] == f"results: {one}/split_01 lies in {one}, which is compared: set another"
    )
    given["results"] = str(tmp_path / "out")
    assert comparing.problems(given, given) == [f"compare: {one}: one study alone: give two or more"]
    (one / "split_01/seed_42/predictions.csv").unlink()
    assert "the study is not finished" in comparing.problems(given, given)[1]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("-a", "begins with a dash"),
        ("a\x1b[31m", "holds characters that cannot be printed"),
        ("a\nb", "holds characters that cannot be printed"),
        (" ", "is empty"),
        ("n" * 81, "has 81 characters: at most 80"),
    ],
)
def test_a_name_that_the_page_cannot_take_is_one_line(tmp_path, name, fault):
    one, two = (studies.write(tmp_path / folder) for folder in "ab")
    given = {"compare": [{name: str(one)}, {"<b>é</b>": str(two)}], "results": str(tmp_path / "out")}
    (line,) = comparing.problems(given, given)
    assert fault in line and line.startswith("compare: name ")


def test_results_go_to_a_folder_of_their_own():
    config = {"compare": ["r/a", "r/b"], "results": "results", "report": {"title": "StrataMIL report"}}
    assert comparing.take_over(config, {}) == {"a": "r/a", "b": "r/b"}
    assert config["results"] == "results/comparison" and config["report"]["title"] == "Comparison"
