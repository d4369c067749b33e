"""Fetch the published weights of an encoder, once, on a machine with internet access.

EfficientNet-Lite0's come with the installed packages and need no internet.
"""

import logging
import socket
from pathlib import Path

import cli
from stratamil import encoders, files


def arguments():
    parser = cli.parser(__doc__)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--weights", default="default", help="default, or a name of torchvision's weights enum")
    parser.add_argument("--output", type=Path, required=True, help="the .pth file")
    return parser.parse_args()


def main(args):
    socket.setdefaulttimeout(60)  # a node without internet may drop packets instead of refusing
    encoders.fetch(args.encoder, args.weights, args.output)
    logging.info("%s: sha256 %s", args.output, files.sha256(args.output))


if __name__ == "__main__":
    cli.run(main, arguments())
