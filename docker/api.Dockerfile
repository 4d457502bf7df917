# The service without the method: REST, pages and the queue. Imports no torch, so the image carries none.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY s2a_core ./s2a_core
COPY app ./app
COPY alembic ./alembic
# Everything of constraints.txt that the service imports; the heavy half of the dependencies stays out.
RUN python -m venv /opt/s2a \
 && /opt/s2a/bin/pip install --no-cache-dir -c constraints.txt \
      fastapi fastapi-offline uvicorn sqlalchemy alembic pydantic pydantic-settings python-multipart jinja2 structlog prometheus-client \
      "psycopg[binary]" cryptography httpx typer rich psutil pillow numpy scipy nvidia-ml-py \
 && /opt/s2a/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 s2a && mkdir -p /var/lib/s2a && chown s2a /var/lib/s2a
COPY --from=build /opt/s2a /opt/s2a
WORKDIR /srv/s2a
# Jobs, plans and the look at datasets need the method: the worker image does them.
ENV PATH=/opt/s2a/bin:$PATH PYTHONUNBUFFERED=1 S2A_DATA_DIR=/var/lib/s2a S2A_RUN_SCHEDULER=false S2A_RUN_WORKERS=false
USER s2a
VOLUME /var/lib/s2a
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"
CMD ["s2a", "serve", "--host", "0.0.0.0", "--port", "8000"]
