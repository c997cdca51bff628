# docker build -t onelook .                                             CPU
# docker build -t onelook --build-arg TORCH=cu126 .                     CUDA 12.6, run with --gpus all
# docker run --rm -v "$PWD:/work" --shm-size 2g onelook train --data bees.yaml
FROM python:3.12-slim

ARG TORCH=cpu
RUN pip install --no-cache-dir torch --index-url "https://download.pytorch.org/whl/${TORCH}"

COPY pyproject.toml README.md LICENSE NOTICE /src/
COPY src /src/src
RUN pip install --no-cache-dir "/src[export,serve,tune]" && rm -rf /src

RUN useradd --create-home onelook
USER onelook
WORKDIR /work
ENTRYPOINT ["onelook"]
