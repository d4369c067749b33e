"""Pages, figures and galleries, made from the tables of the other packages."""
