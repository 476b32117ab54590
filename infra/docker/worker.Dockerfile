# Celery worker and beat.
# Not built where it was written: no Docker engine was available there.

FROM python:3.11-slim
WORKDIR /skerry
RUN useradd --uid 10001 --create-home skerry
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY api api
COPY worker worker
COPY edge edge
USER skerry
CMD ["python", "-m", "celery", "-A", "worker.app", "worker", "-Q", "push,default", "-c", "4", "--loglevel=INFO"]
