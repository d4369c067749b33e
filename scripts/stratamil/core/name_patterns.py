"""Patterns of file names that programs and published data sets give to patches, by name, for names.pattern.

`{stain}` stands for a spelling of a stain that the config lists. What the names do not say cannot be read from them:
QuPath writes the slide's name and the place, so the case is the slide's name up to its first space or underscore.
"""

import re
from collections.abc import Iterable

IMAGE = r"(?:\.ome(?=\.tif))?\.(?:png|jpe?g|tiff?|bmp|webp)$"
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Project, site, participant; then what the repository adds for sample, portion and slide.
BARCODE = r"(?P<case>TCGA-[a-z0-9]{2}-[a-z0-9]{4})(?:-[0-9]{2}[a-z](?:-[0-9]{2}(?:-[a-z]{2}[a-z0-9]{1,2})?)?)?"
WORD = "(?<![a-z0-9]){stain}(?![a-z0-9])"
DOWNSAMPLE = "(?:d=[0-9.,]+,)?"  # with the decimal comma of the machine, if it has one
APART = "(?:[ _]*[-,][ _]+|[ _]+|[-,])"  # two parts of a name: the second of two signs may be a minus

PATTERNS = {
    # `S21-0001 A1 HE.svs [x=1024,y=2048,w=512,h=512].png`; with a downsample: `[d=4,x=...]`. Of TileExporter. A tile
    # that begins outside the slide has negative places.
    "qupath": (
        r"^(?P<slice>(?P<case>[^ _/\[]+)(?:[^/]*?"
        + WORD
        + r")?[^/]*?) ?\["
        + DOWNSAMPLE
        + r"x=(?P<x>-?[0-9]+),y=(?P<y>-?[0-9]+),w=[0-9]+,h=[0-9]+(?:,[zt]=[0-9]+)*\]"
        + IMAGE
    ),
    # `TCGA-AA-0001-01Z-00-DX1.<uuid>_1024_2048.png`, `TCGA-AA-0001-01Z-00-DX1_files/20.0/3_7.jpeg`, QuPath's.
    "tcga": (
        rf"^(?:.*/)?(?P<slice>{BARCODE}(?:\.{UUID})?)(?:\.svs)?(?:_files)?(?:/(?:[^/]+/)*|{APART})"
        rf"[\[(]?(?:tile[ _-])?{DOWNSAMPLE}(?:x=?)?(?P<x>-?[0-9]+){APART}(?:y=?)?(?P<y>-?[0-9]+)"
        r"(?:[ _,-]+[a-z]*=?[0-9]+)*[\])]?" + IMAGE
    ),
    # `blk-AAAFIYHTSRMT-TCGA-CM-6171-01Z-00-DX1.png`: blocks of slides without a place, as in the sets of Kather et al.
    "tcga-blocks": rf"^blk-(?P<tile>[a-z0-9]+)-(?P<slice>{BARCODE}(?:\.{UUID})?)" + IMAGE,
    # `im1_IHC.png`, `im1_Hema.png`, ...: a case is an image, with a patch of each channel.
    "deepliif": r"^(?P<case>[^/]+?)_(?P<stain>{stain})(?:_(?P<tile>[0-9]+))?" + IMAGE,
    # `Tumor/101-CD3-2-17.png`: patient, stain, section, tile; the folder is the class of the tissue.
    "mihic": r"^(?P<case>[^/-]+)-(?P<stain>{stain})-(?P<slice>[^/]+?)-(?P<patch>[0-9]+)" + IMAGE,
}


def expanded(pattern: str, spellings: Iterable[str]) -> tuple[str, str | None]:
    """Return the regular expression that a pattern of that name stands for, and the same with any stain.

    spellings: of all stains. A pattern of no such name is returned as it is, and None.
    """
    if pattern not in PATTERNS:
        return pattern, None
    # The longest first: he is in hes, too.
    words = "|".join(re.escape(text) for text in sorted(set(spellings), key=lambda text: (-len(text), text)))
    known = PATTERNS[pattern].replace(WORD, f"(?<![a-z0-9])(?P<stain>{words})(?![a-z0-9])")
    loose = PATTERNS[pattern].replace(WORD, "").replace("{stain}", "[^/_]+?")
    return known.replace("{stain}", words), loose if "{stain}" in PATTERNS[pattern] else None
