# The service with the method: also plans and trains, on the CPU or on the GPUs given to the container.
FROM python:3.11-slim
# Triton and the native kernels for the CPU are compiled where they run.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc g++ libc6-dev && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 s2a && mkdir -p /var/lib/s2a && chown s2a /var/lib/s2a
WORKDIR /srv/s2a
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY s2a_core ./s2a_core
COPY app ./app
COPY alembic ./alembic
ARG EXTRAS=""
# EXTRAS="[ray]" for a cluster worker. PyTorch's wheel brings the CUDA libraries; the driver comes from the host.
RUN pip install --no-cache-dir -c constraints.txt ".${EXTRAS}"
ENV PYTHONUNBUFFERED=1 S2A_DATA_DIR=/var/lib/s2a
USER s2a
VOLUME /var/lib/s2a
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=40s \
  CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"
CMD ["s2a", "serve", "--host", "0.0.0.0", "--port", "8000"]
