# appserve in a container, serving its demo; for an application of your own see docs/deploy.md.
#
#     docker build --tag appserve .
#     docker run --rm --publish 8000:8000 appserve

# The full image has the C compiler that the request path is compiled with.
FROM python:3.13 AS build
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY src src
RUN APPSERVE_COMPILE=1 pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-index /wheels/*.whl \
    && rm -r /wheels \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin appserve
WORKDIR /app
USER 10001
# PORT stands for the default of --bind, 0.0.0.0:$PORT; hosting platforms set it to their own.
ENV PORT=8000
EXPOSE 8000
# The list form: appserve itself is the process that gets the signals, not a shell.
CMD ["appserve", "appserve.demo:app", "--workers", "2"]
