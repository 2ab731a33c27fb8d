# The custom image for EMR Serverless and EMR on EKS: the image of the release, Penstock's wheel, what the image lacks.
#   docker build --build-arg RELEASE=emr-spark-8.1.0 -t penstock:0.1.0 .
# EMR on EKS: --build-arg IMAGES=public.ecr.aws/emr-on-eks/spark
# The job's entry point in it is local:///usr/lib/penstock/penstock_entry.py
ARG IMAGES=public.ecr.aws/emr-serverless/spark
ARG RELEASE=emr-spark-8.1.0
# EMR refuses an image whose release is not the application's; a date in place of `latest` makes builds repeatable.
ARG TAG=latest

FROM ${IMAGES}/${RELEASE}:${TAG} AS wheel
# hadolint ignore=DL3066
USER root
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY jobs jobs
COPY lib lib
COPY requirements requirements
RUN python3.11 -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
# EMR knows this user by its name.
# hadolint ignore=DL3066
USER hadoop:hadoop

FROM ${IMAGES}/${RELEASE}:${TAG}
# hadolint ignore=DL3066
USER root
# Spark, pandas, numpy and pyarrow are the image's own: other versions beside them would shadow them.
RUN --mount=type=bind,source=requirements/emr.txt,target=/tmp/emr.txt \
    --mount=type=bind,from=wheel,source=/wheels,target=/tmp/wheels \
    python3.11 -m pip install --no-cache-dir --no-deps --require-hashes -r /tmp/emr.txt \
    && python3.11 -m pip install --no-cache-dir --no-deps /tmp/wheels/*.whl
COPY --chmod=755 lib/penstock/cli/entry.py /usr/lib/penstock/penstock_entry.py
ENV PYSPARK_PYTHON=python3.11 \
    PYSPARK_DRIVER_PYTHON=python3.11
# hadolint ignore=DL3066
USER hadoop:hadoop
