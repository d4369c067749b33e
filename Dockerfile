# The environment of StrataMIL from its pins, for CPU and GPU: torch's own package brings CUDA, so the host needs only a
# driver. The checkout stays outside: rules, scripts and results are those of the folder in which it runs.
#   docker build -t stratamil .
#   docker run --rm --gpus all --shm-size 8g --user "$(id -u):$(id -g)" -v "$PWD:$PWD" -w "$PWD" -v /data:/data:ro stratamil \
#       snakemake --profile profiles/local --configfile my_study.yaml
# Without a GPU, leave out --gpus all.
FROM python:3.12-slim-bookworm

# git names the commit in results; Debian keeps one version of it a release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory '*'

COPY requirements.txt requirements-timm.txt constraints.txt /opt/stratamil/
WORKDIR /opt/stratamil
RUN python -m pip install --no-cache-dir -r requirements-timm.txt -c constraints.txt

# The user that runs it may have no home folder.
ENV HOME=/tmp PYTHONUTF8=1
CMD ["snakemake", "--version"]
