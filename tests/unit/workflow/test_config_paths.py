"""The paths of a configuration become what Snakemake and the scripts take them for."""

from stratamil.workflow import config_paths


def test_paths_that_begin_with_a_dash_become_whole_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {"patches": "./-p/", "labels": "-l.csv", "results": "r", "splits": {"preset": "-s_{split}.npz"}}
    config |= {"features": {"manifest": "-m.csv", "folder": None}, "cohort": {"exclude_patches": "-e.csv"}}
    config |= {"attention": {"truth": "data/-t.csv"}, "embed": {"weights": "-w.pth", "by_stain": None}}
    config_paths.tidy(config)
    assert (config["patches"], config["labels"]) == (f"{tmp_path}/-p", f"{tmp_path}/-l.csv")
    assert config["splits"]["preset"] == f"{tmp_path}/-s_{{split}}.npz"
    assert config["features"] == {"manifest": f"{tmp_path}/-m.csv", "folder": None}
    assert config["embed"]["weights"] == f"{tmp_path}/-w.pth"
    assert config["attention"]["truth"] == "data/-t.csv"
    assert config["cohort"]["exclude_patches"] == f"{tmp_path}/-e.csv"


def test_columns_that_the_labels_table_lacks_are_named_with_those_it_has(tmp_path):
    labels = tmp_path / "labels.csv"
    config = {"labels": str(labels), "report": {"columns": ["Site", "Scaner"], "clinical": ["Age"]}}
    assert config_paths.missing_columns(config) == []  # the demo paints it first
    labels.write_text("Case;Class;Site;Scanner\n1;1;A;X\n")
    assert config_paths.missing_columns(config) == [
        f"report.columns: no column 'Scaner' in {labels}: it has 'Case', 'Class', 'Site', 'Scanner'",
        f"report.clinical: no column 'Age' in {labels}: it has 'Case', 'Class', 'Site', 'Scanner'",
    ]
    assert config_paths.missing_columns(config | {"report": {"columns": ["Site"], "clinical": []}}) == []
    labels.write_bytes(b"\xff")
    assert "not in UTF-8" in config_paths.missing_columns(config)[0]
