"""Pages that need nothing else: templates, numbers for readers, figures and images as part of the page."""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import jinja2
from markupsafe import Markup

from stratamil.core.errors import UserError
from stratamil.core.wording import about, duration, ends, in_list, num, pct, percentages, span, thousands
from stratamil.report import style

# Colours of a figure that the page sets itself, so that it reads on light and on dark paper.
PAGE_COLORS = {
    "#000000": "currentColor",
    style.MODEL: "currentColor",
    style.GREY: "var(--muted)",
    "#e4e4e4": "var(--grid)",
    style.WRONG: "var(--wrong)",
}


def template(path: Path | str) -> jinja2.Template:
    """Return the template in a file, with those beside it to build on; what comes from data is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(path).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"num": num, "pct": pct, "span": span, "ends": ends, "duration": duration}
    environment.filters |= {"thousands": thousands, "about": about, "percentages": percentages, "in_list": in_list}
    return environment.get_template(Path(path).name)


def check_colors(colors: Sequence[str]) -> None:
    """Raise UserError unless these are two or more colours like #0072B2."""
    wrong = [color for color in colors if not re.fullmatch("#[0-9a-fA-F]{6}", color)]
    if wrong or len(colors) < 2:
        raise UserError(f"config: report.colors: {' '.join(wrong or colors)}: give two or more like #0072B2")


def address(path: Path, final: Path) -> str:
    """Return the relative address of a file, as seen from the folder `final`."""
    return quote(Path(os.path.relpath(path, final)).as_posix())


def image(path: Path | str) -> str:
    """Return a JPEG file as the address of an image that is part of the page."""
    return "data:image/jpeg;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def inline(svg: str, name: str, label: str, colors: Sequence[str]) -> Markup:
    """Return a figure as an element of the page: its own ids, the page's colours, a label for screen readers.

    svg: text of an SVG file. name: what makes its ids its own. colors: those that the page calls --c0, --c1, ...
    """
    root = ElementTree.fromstring(svg.encode())
    swaps = PAGE_COLORS | {color: f"var(--c{i})" for i, color in enumerate(colors)}
    swaps = {color.lower(): of_page for color, of_page in swaps.items()}
    for parent in root.iter():
        for child in [child for child in parent if _local(child.tag) in ("metadata", "style")]:
            parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): _attribute(key, value, name, swaps) for key, value in element.items()}
        if element.tag == "path" and "style" in element.attrib:  # white paths are backgrounds, white text is text
            element.set("style", element.get("style").replace("fill: #ffffff", "fill: none"))
    box = root.get("viewBox")
    width = float(box.split()[2])
    root.attrib = {"viewBox": box, "role": "img", "aria-label": label, "style": f"--w: {width:.0f}"}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _local(name: str) -> str:
    """Return a tag or attribute without its namespace."""
    return name.rpartition("}")[2]


def _attribute(key: str, value: str, name: str, swaps: Mapping[str, str]) -> str:
    """Return an attribute's value, with ids and references to them made the figure's own, colours the page's."""
    if key == "id":
        return f"{name}-{value}"
    if _local(key) == "href":
        return f"#{name}-{value.removeprefix('#')}"
    if key == "style":
        for color, of_page in swaps.items():
            value = value.replace(color, of_page)
    return value.replace("url(#", f"url(#{name}-")
