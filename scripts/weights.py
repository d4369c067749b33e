"""Fetch the published weights of an encoder, once, on a machine with internet access.

EfficientNet-Lite0's come with the installed packages and need no internet. Gated models of the Hugging Face Hub need
your own login there: `hf auth login`.
"""

import argparse
import socket
from pathlib import Path

import cli
from stratamil.features import download


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    cli.add_settings(parser, "embed", "encoder", "weights")
    parser.add_argument("--output", type=Path, required=True, help="the file of weights")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    socket.setdefaulttimeout(60)  # a node without internet may drop packets instead of refusing
    download.fetch(args.encoder, args.weights, args.output)


if __name__ == "__main__":
    cli.run(main, arguments())
