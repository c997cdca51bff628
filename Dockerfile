# docker build -t onelook .                                             CPU
# docker build -t onelook --build-arg TORCH=cu126 .                     CUDA 12.6, run with --gpus all
# docker run --rm --user "$(id -u)" -v "$PWD:/work" --shm-size 2g onelook train --data bees.yaml
FROM python:3.11-slim

ARG TORCH=cpu
COPY constraints.txt /src/
RUN pip install --no-cache-dir --constraint /src/constraints.txt --index-url "https://download.pytorch.org/whl/${TORCH}" torch

COPY pyproject.toml README.md LICENSE NOTICE /src/
COPY src /src/src
RUN pip install --no-cache-dir --constraint /src/constraints.txt "/src[export,serve,tune]" \
    && useradd --create-home --uid 1000 onelook
USER 1000
WORKDIR /work
ENTRYPOINT ["onelook"]
