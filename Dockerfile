# initpools for CPUs: docs/docker.md. Build it in a clone: docker build -t initpools .
FROM python:3.12-slim

# The builds for CPUs are much smaller than the default ones; the versions are those of the Makefile.
RUN pip install --no-cache-dir torch==2.14.1 torchvision==0.29.1 --index-url https://download.pytorch.org/whl/cpu

WORKDIR /opt/initpools
COPY pyproject.toml README.md LICENSE ./
COPY initpools_cli ./initpools_cli
RUN pip install --no-cache-dir ".[h5,dicom]"

# Downloads and caches, writable by the user of `docker run --user`, who has no home.
RUN mkdir --mode=1777 /cache
ENV INITPOOLS_DATA=/cache/initpools HF_HOME=/cache/huggingface TORCH_HOME=/cache/torch HOME=/tmp
VOLUME /cache

WORKDIR /work
ENTRYPOINT ["initpools"]
CMD ["--help"]
