"""The paths of a configuration become what Snakemake and the scripts take them for."""

from stratamil.workflow import config_paths


def test_paths_that_begin_with_a_dash_become_whole_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {"patches": "./-p/", "labels": "-l.csv", "results": "r", "splits": {"preset": "-s_{split}.npz"}}
    config |= {"features": {"manifest": "-m.csv", "folder": None}, "evaluate": {"checkpoint": "-c.pth"}}
    config |= {"attention": {"truth": "data/-t.csv"}, "embed": {"weights": "-w.pth", "by_stain": None}}
    config_paths.tidy(config)
    assert (config["patches"], config["labels"]) == (f"{tmp_path}/-p", f"{tmp_path}/-l.csv")
    assert config["splits"]["preset"] == f"{tmp_path}/-s_{{split}}.npz"
    assert config["features"] == {"manifest": f"{tmp_path}/-m.csv", "folder": None}
    assert config["evaluate"]["checkpoint"] == f"{tmp_path}/-c.pth"
    assert config["embed"]["weights"] == f"{tmp_path}/-w.pth"
    assert config["attention"]["truth"] == "data/-t.csv"
