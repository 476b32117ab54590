# An edge node: the agent, which starts the keeper, HAProxy and the cells, and with it they all end.
# Not built where it was written: no Docker engine was available there.

FROM node:22-slim AS npm
WORKDIR /skerry
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund

FROM python:3.11-slim
WORKDIR /skerry
RUN apt-get update \
 && apt-get install -y --no-install-recommends haproxy bubblewrap ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home skerry \
 && install -d -o skerry -m 0700 /node
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY --from=npm /skerry/node_modules/@cloudflare/workerd-linux-64 node_modules/@cloudflare/workerd-linux-64
COPY --from=npm /skerry/node_modules/workerd node_modules/workerd
COPY edge edge
USER skerry
ENV NODE=edge-1 CONTROL=https://api:8701
EXPOSE 8080 8443 8710
# The join token counts once; afterwards the node has a credential of its own in /node.
CMD ["sh", "-c", "exec python -m edge.agent --dir /node --name $NODE --bind 0.0.0.0 --http-port 8080 --https-port 8443 --agent-port 8710 --advertise https://$NODE:8710 --join \"$(cat /join/$NODE)\" --control $CONTROL --stop-all-on-exit"]
