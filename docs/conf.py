"""Sphinx builds the site from this folder: `make docs`. It needs no network, neither to build nor to read."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

project = "StrataMIL"
author = "The StrataMIL authors"
copyright = "the StrataMIL authors, MIT licence"
release = version = (ROOT / "scripts/stratamil/VERSION").read_text(encoding="utf-8").strip()

extensions = ["myst_nb", "sphinx_copybutton"]
exclude_patterns = ["_build"]
nb_execution_mode = "off"  # a test runs the notebook
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"StrataMIL {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
