"""StrataMIL's library: what the scripts share. It knows neither Snakemake nor argparse."""
