"""Painted patches, encoded by the stage and by the encoder alone."""

import time

from patches import paint  # puts the library on the path

from stratamil.features import extract


class Work:
    """Patches of the given sides in a folder of their own, and the seconds that they take."""

    def __init__(self, place, sides, threads):
        self.place, self.threads, self.n = place, threads, len(sides)
        self.table = paint(place / "patches", sides)
        self.paths = [place / "patches" / path for path in self.table["path"]]

    def alone(self, encoder, batch):
        """The encoder on a batch that is in memory, again and again."""
        begin = time.perf_counter()
        for _ in range(0, self.n, len(batch)):
            found = encoder(batch)
        found.cpu()  # a GPU is done only now
        return (time.perf_counter() - begin) * self.n / (-(-self.n // len(batch)) * len(batch))

    def stage(self, encoder):
        """From files to a feature file, with an empty cache."""
        for file in self.place.glob("*.*"):
            file.unlink()
        begin = time.perf_counter()
        place = {"output": self.place / "out.h5", "cache": self.place / "cache.h5", "max_unreadable": 0}
        cases = self.table["case_id"].unique()
        extract.embed(self.table, cases, self.place / "patches", encoder, **place, threads=self.threads)
        return time.perf_counter() - begin
