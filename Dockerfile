# Whorl's images: `docker build .` makes the CPU one, `docker build --target gpu .` the GPU one.
# What goes in is pinned in constraints.txt and constraints-gpu.txt, as on any other machine.

FROM python:3.11-slim AS builder
# Optional extras, for example `--build-arg EXTRAS=wsq` (licence: docs/operations.md).
ARG EXTRAS=""
ENV PATH=/opt/whorl/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY constraints.txt pyproject.toml ./
# The dependencies alone, so that a change of the code does not install TensorFlow again.
RUN python -m venv /opt/whorl \
    && pip install --no-cache-dir --constraint constraints.txt --upgrade pip setuptools \
    && for target in cpu gpu; do \
        python -c "import sys, tomllib; \
project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = [line for name in sys.argv[1:] for line in project['optional-dependencies'][name]]; \
print(*project['dependencies'], *extras, sep='\n')" "$target" $EXTRAS \
        > "requirements-$target.txt" || exit 1; \
    done

FROM builder AS wheel
COPY LICENSE README.md ./
COPY app app
COPY model_store model_store
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM builder AS builder-cpu
RUN pip install --no-cache-dir --only-binary :all: \
    --constraint constraints.txt --requirement requirements-cpu.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps --no-index /wheels/*.whl && pip check

FROM builder AS builder-gpu
COPY constraints-gpu.txt ./
RUN pip install --no-cache-dir --only-binary :all: \
    --constraint constraints-gpu.txt --requirement requirements-gpu.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps --no-index /wheels/*.whl && pip check

FROM python:3.11-slim AS runtime
LABEL org.opencontainers.image.title="Whorl" \
      org.opencontainers.image.description="Fingerprint verification as a service" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# A new volume takes owner and mode of the folder it is mounted on.
RUN groupadd --gid 10001 whorl \
    && useradd --uid 10001 --gid whorl --home-dir /var/lib/whorl --no-create-home \
        --shell /usr/sbin/nologin whorl \
    && install --directory --mode 0700 --owner whorl --group whorl /var/lib/whorl
# Only WHORL_HOME and /tmp are written to, so the root file system may be read-only.
ENV PATH=/opt/whorl/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    KERAS_HOME=/tmp/keras \
    WHORL_HOME=/var/lib/whorl \
    WHORL_HOST=0.0.0.0 \
    WHORL_PORT=8000
WORKDIR /var/lib/whorl
VOLUME /var/lib/whorl
EXPOSE 8000
STOPSIGNAL SIGTERM
USER 10001:10001
# Not urlopen: it would go through a proxy that the environment names.
HEALTHCHECK --interval=15s --timeout=5s --start-period=600s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; \
c = http.client.HTTPConnection('127.0.0.1', int(os.environ['WHORL_PORT']), timeout=4); \
c.request('GET', '/health/ready'); \
sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["whorl"]
# API and worker in one container; docker-compose.yml runs them apart.
CMD ["serve"]

# The driver comes from the host (NVIDIA Container Toolkit), CUDA from the pinned packages.
FROM runtime AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    CUDA_CACHE_PATH=/tmp/cuda
COPY --from=builder-gpu /opt/whorl /opt/whorl

# The last stage is what `docker build .` makes.
FROM runtime AS cpu
COPY --from=builder-cpu /opt/whorl /opt/whorl
