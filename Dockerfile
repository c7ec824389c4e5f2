# Two stages: the first builds the wheel and installs it with the locked versions, the second carries the result only.
FROM python:3.13-slim AS build
WORKDIR /source
COPY requirements.lock ./
# A lock with hashes takes no package that it does not name; a constraints file says which version, if any.
RUN sed -E '/^[[:space:]]+(--hash|#)/d; s/[[:space:]]*\\$//' requirements.lock > constraints.txt \
    && python -m venv /build \
    && /build/bin/pip install --no-cache-dir -c constraints.txt hatchling \
    && python -m venv /opt/machine-engine
COPY pyproject.toml README.md ./
COPY engine engine
COPY migrations migrations
COPY kubernetes kubernetes
RUN /build/bin/python -m hatchling build -t wheel -d /wheels \
    && /opt/machine-engine/bin/pip install --no-cache-dir -c constraints.txt /wheels/*.whl

FROM python:3.13-slim
ENV PATH=/opt/machine-engine/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/machine-engine /opt/machine-engine
# A number, so that Kubernetes can prove `runAsNonRoot`.
USER 65532:65532
ENTRYPOINT ["machine-engine"]
CMD ["serve"]
