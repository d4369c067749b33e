"""Files, tables, names, errors, locks and images: what every other package stands on."""
