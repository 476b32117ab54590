"""HAProxy's configuration as text. What may change at run time is in files of its own."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.runtime.config import CF_HEADER, MARKER_HEADER, PROTO_HEADER

PAGES = Path(__file__).parent / "pages"

# Environment variables that carry the numbers of the inherited listening descriptors.
HTTP_FD = "SKERRY_HTTP_FD"
HTTPS_FD = "SKERRY_HTTPS_FD"
# Of other nodes, for scripts that run on this one alone.
DOOR_FD = "SKERRY_DOOR_FD"
# Likewise the pipe into which the front writes a line per request: see front/log.py.
LOG_FD = "SKERRY_LOG_FD"

# Of the host map's entries: a slot, which is a backend and needs no rule more. No other begins so.
SLOT_PREFIX = "s"
# Those that lead to another node, and the backend that goes there.
HOME_PREFIX, HOMES = "to-", "homes"
# Those that lead to two versions, and how many parts the visitors are divided into.
SPLIT_PREFIX, BUCKETS = "two-", 10_000
# Those whose paths lead to different scripts; and what ends a path that must not go on, in the map of routes.
ROUTES_PREFIX, END = "routes-", "?"
# By which visitors keep their version, and ask for one: Cloudflare's names.
_KEY, _OVERRIDES = "Cloudflare-Workers-Version-Key", "Cloudflare-Workers-Version-Overrides"
# The backend that leads to functions in a cloud; all others are slots.
FUNCTIONS = "functions"

# A write of at most so many bytes goes into a pipe whole or not at all (PIPE_BUF).
LOG_LINE_BYTES = 4096
# What front/log.py reads, in this order; the path is last, as a long one is cut off.
LOG_FIELDS = {
    "began_us": "%[var(txn.at)]",
    "ended_us": "%[date(0,us)]",
    "slot": "%[var(txn.slot)]",
    "cell": "%s",
    "ray": "%[var(txn.ray)]",
    "client": "%[var(txn.client)]",
    "status": "%ST",
    "termination": "%ts",
    "said": "%[var(txn.said)]",
    "waited_ms": "%Tw",
    "connected_ms": "%Tc",
    "answered_ms": "%Tr",
    "bytes_in": "%U",
    "bytes_out": "%B",
    "silent": "%[var(txn.silent)]",
    "scheme": "%[var(txn.scheme)]",
    "host": "%[var(txn.host)]",
    "method": "%HM",
    "path": "%HU",
}

# Of a busy cell the front says one line of several: see `_sampling_text`. Only of answers so short that they
# are here with their head, so that nobody breaks them off afterwards.
SAMPLED_BYTES = 65536
# How many requests of each cell had no line since the front started, in a table by the cell's name: at most so
# many letters, and so many cells. It is said as `PID:COUNT`.
SILENT, _SILENT_KEY, _SILENT_CELLS = "silent", 64, 20_000
_SILENT_COUNT = "'%pid:%[sc0_get_gpc0]'"

# Requests beyond 1,000 wait in HAProxy and not in the cell's backlog of 4,096. workerd closes a
# connection after 15 idle seconds (measured): HAProxy lets go of its idle ones sooner, so that a
# request is not written into a connection that is just being closed. A server that is added at run
# time keeps no idle connection at all unless both pool settings are given (HAProxy 2.6): every
# request then opened a new one, which halved the requests/s (measured: 6,500 against 14,400).
SERVER_OPTIONS = "maxconn 1000 pool-max-conn 1000 pool-purge-delay 2s"

# What a visitor may not claim: either we say it below, or nobody on this platform does. In one expression,
# since each rule that takes a header off or sets one goes through all there are.
_CLAIMS = (
    "x-skerry.*|true-client-ip|x-real-ip|x-forwarded-(?:for|proto)"
    "|cf-(?:cache-namespace|connecting-ip|connecting-ipv6|ew-via|ipcountry|pseudo-ipv4|ray|visitor|worker)"
)
# A Ray id is 16 digits: 39 bits of the microsecond and 24 of chance. Ids of one time are neighbours in the
# control plane's index, and numbers cost a tenth of what a UUID and taking its dashes out did.
_RAY_TIME, _RAY_CHANCE = 2**39 - 1, 2**24


# A request goes to its cell when so much of its body is here, or all of it. A cell that answers without reading
# closes the connection, and HAProxy 2.6 that writes into it then passes the answer on as it is, past its rules
# (measured: of bodies in a packet of their own up to a third).
BODY_BYTES = 65536

# 64 kB of headers pass, and what is said through the runtime API. HAProxy 2.6 keeps 512 kB of freed ones at hand and
# allocates the others anew: with 128 KiB it did so with most requests (0.7 us each; with 16 KiB 2 us less).
BUFFER_BYTES = 73728

# What HAProxy takes for the end of a word, a quote, a comment or a variable.
_SPECIAL = " \t\"'\\#$"


@dataclass(frozen=True)
class FrontFiles:
    folder: Path

    @property
    def main(self) -> Path:
        return self.folder / "haproxy.cfg"

    @property
    def slots(self) -> Path:
        return self.folder / "slots.cfg"

    @property
    def hosts(self) -> Path:
        return self.folder / "hosts.map"

    @property
    def endings(self) -> Path:
        """For hostnames that are not in the map of hosts: see `_host_text`."""
        return self.folder / "endings.map"

    @property
    def routes(self) -> Path:
        return self.folder / "routes.map"

    @property
    def splits(self) -> Path:
        """How visitors are divided between two versions: see `_split_text`."""
        return self.folder / "splits.map"

    @property
    def homes(self) -> Path:
        return self.folder / "homes.map"

    @property
    def door_certificate(self) -> Path:
        """The node's own, with its key: what it shows other nodes. There is none before the node has
        enrolled."""
        return self.folder / "door.pem"

    @property
    def authority(self) -> Path:
        """The one that signed the certificates of all nodes."""
        return self.folder / "authority.pem"

    @property
    def sampled(self) -> Path:
        """Of which cells one line of how many is said."""
        return self.folder / "sampled.map"

    @property
    def functions(self) -> Path:
        """By slot, which function in a cloud answers in its place now: see backups.py."""
        return self.folder / "functions.map"

    @property
    def drops(self) -> Path:
        """HAProxy's pid, and how many lines it could not write, as far as that was counted."""
        return self.folder / "drops"

    @property
    def certificate(self) -> Path:
        return self.folder / "default.pem"

    @property
    def certificates(self) -> Path:
        """A folder of those for names of their own: see custom.py."""
        return self.folder / "certificates"

    @property
    def certificate_list(self) -> Path:
        """Which of them are shown, and for which names."""
        return self.folder / "certificates.list"


def word(path: Path) -> str:
    """A path as one word of HAProxy's configuration or of its runtime API."""
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in str(path))


# Of whom nobody answers: he gets a page, and is not written down.
_NOBODY = f"""\
  http-request set-log-level silent unless {{ var(txn.slot) -m found }}
  http-request return status 404 content-type "text/html; charset=utf-8" file {word(PAGES / "nothing.html")} hdr cache-control no-store unless {{ var(txn.slot) -m found }}"""


def main_text(
    files: FrontFiles,
    admin_socket: Path,
    silent_socket: Path,
    slots: int,
    connections: int,
    threads: int,
    node_name: str,
    drain_seconds: float,
    authorities: str,
) -> str:
    """Everything that holds until the next start of HAProxy.

    The reasons of the numbers (measured): 16 kB buffers answer 502 above 15.5 kB of headers;
    quiet WebSockets and event streams must live; `retry-on` must never send a request twice. A visitor
    goes to the process with the fewest requests: when they took turns (`roundrobin`), all of them soon
    waited for the one that was collecting garbage, with nothing left for the other to do (16,700
    requests/s instead of 18,300). One that is told to end finishes for as long as an old cell does. A
    function gets a request of its own connection (`http-reuse safe`): nobody can say when AWS closes
    one that is kept. `authorities` is a PEM file, or the system's.
    """
    function = f"var(txn.slot),map_str({word(files.functions)})"
    tls = '"tlsVersion":"%[ssl_fc_protocol]","tlsCipher":"%[ssl_fc_cipher]"'
    colo = "".join(letter for letter in node_name.upper() if letter.isalnum() or letter in "-_")
    return f"""\
global
  maxconn {connections}
  nbthread {threads}
  stats socket {word(admin_socket)} mode 600 level admin
  stats timeout 30s
  hard-stop-after {max(round(drain_seconds), 1)}s
  tune.bufsize {BUFFER_BYTES}
  tune.maxrewrite 4096
  tune.http.maxhdr 256
  ssl-default-bind-options ssl-min-ver TLSv1.2
  crt-base {word(files.certificates)}

defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 24h
  timeout http-request 30s
  timeout http-keep-alive 60s
  timeout queue 30s
  option clitcpka
  option srvtcpka
  option dontlognull
  retries 3
  retry-on conn-failure
  http-reuse always
  balance leastconn
  errorfile 502 {word(PAGES / "1102.http")}
  errorfile 503 {word(PAGES / "starting.http")}

frontend front
  bind "fd@${{{HTTP_FD}}}"
  bind "fd@${{{HTTPS_FD}}}" ssl crt {word(files.certificate)} crt-list {word(files.certificate_list)} alpn h2,http/1.1
{_log_text(LOG_FIELDS)}
  http-request set-var(txn.at) date(0,us)
  http-request set-var(txn.chance) rand({_RAY_CHANCE})
  http-request set-var(txn.ray) var(txn.at),and({_RAY_TIME}),mul({_RAY_CHANCE}),add(txn.chance),hex,lower
{_host_text(files)}
  http-request set-var(txn.client) src,lower
{_NOBODY}
  http-request wait-for-body time 1h at-least {BODY_BYTES} if {{ req.hdr(content-length) -m found }} !{{ req.hdr(expect) -m found }}
  http-request set-var(txn.scheme) ssl_fc,iif(https,http)
  http-request del-header ^(?:{_CLAIMS})$ -m reg
  http-request add-header CF-Connecting-IP %[var(txn.client)]
  http-request add-header X-Forwarded-For %[var(txn.client)]
  http-request add-header X-Real-IP %[var(txn.client)]
  http-request add-header CF-Ray %[var(txn.ray)]-{colo}
  http-request add-header X-Forwarded-Proto %[var(txn.scheme)]
  http-request add-header CF-Visitor '{{"scheme":"%[var(txn.scheme)]"}}'
  http-request add-header {PROTO_HEADER} https if {{ ssl_fc }}
  http-request add-header {CF_HEADER} '{{"colo":"{colo}","httpProtocol":"HTTP/1.1","tlsVersion":"","tlsCipher":""}}' if HTTP_1.1 !{{ ssl_fc }}
  http-request add-header {CF_HEADER} '{{"colo":"{colo}","httpProtocol":"HTTP/%[req.ver]",{tls}}}' if {{ ssl_fc }} !{{ req.ver 2.0 }} or !HTTP_1.1 !{{ req.ver 2.0 }}
  http-request add-header {CF_HEADER} '{{"colo":"{colo}","httpProtocol":"HTTP/2",{tls}}}' if {{ req.ver 2.0 }}
  http-response set-var(txn.said) str(1) if {{ res.hdr({MARKER_HEADER}) -m found }}
  http-response return status 500 content-type "text/html; charset=utf-8" lf-file {word(PAGES / "1101.html")} hdr cache-control no-store if {{ status 500 }} !{{ res.hdr({MARKER_HEADER}) -m found }}
  http-response del-header {MARKER_HEADER}
{_sampling_text(files)}
  http-after-response set-header CF-Ray %[var(txn.ray)]-{colo}
{_route_text(files)}
{_NOBODY}
  http-request set-var(txn.home) var(txn.slot),regsub(^{HOME_PREFIX},) if {{ var(txn.slot) -m beg {HOME_PREFIX} }}
  http-request set-log-level silent if {{ var(txn.home) -m found }}
{_split_text(files)}
  use_backend {HOMES} if {{ var(txn.home) -m found }}
  use_backend {FUNCTIONS} if {{ {function} -m found }}
  use_backend %[var(txn.slot)]

{_silent_text(silent_socket)}

{_homes_text(files)}
backend {FUNCTIONS}
  http-reuse safe
  http-request set-var(txn.function) {function}
  http-request set-header X-Skerry-Front %[var(txn.function),field(4,/)]
  http-request set-header X-Skerry-Host %[req.hdr(host)]
  http-request set-header X-Skerry-Client %[src]
  http-request set-header X-Skerry-Scheme %[var(txn.scheme)]
  http-request set-header X-Skerry-Ray %[req.hdr(cf-ray)]
  http-request set-header Host %[var(txn.function),field(1,/)]
  http-request set-dst var(txn.function),field(2,/)
  http-request set-dst-port var(txn.function),field(3,/)
  http-response del-header x-amzn -m beg
  http-response set-header {MARKER_HEADER} 1
  server function 0.0.0.0:0 ssl verify required ca-file {authorities} sni var(txn.function),field(1,/) maxconn 1000

# {slots} slots are in slots.cfg
"""


def _homes_text(files: FrontFiles) -> str:
    """To the node that alone runs a script, and from the others if it is this one.

    Both sides show a certificate of the installation's authority: whoever calls checks the name of
    the node that it means, whoever answers lets in the nodes that it knows and nobody else, so that
    a node which was removed is out. What the visitor's front says of him is believed then. An
    answer goes back as the cell gave it, the mark included: the visitor's front makes the pages.
    """
    if not files.door_certificate.exists():
        return f"""\
backend {HOMES}
  http-request return status 503 errorfile {word(PAGES / "home_away.http")}
"""
    ours = f"crt {word(files.door_certificate)} ca-file {word(files.authority)} verify required"
    homes = f"map_str({word(files.homes)})"
    # 26 is a purpose that does not fit: a node's certificate says "server" only.
    return f"""\
backend {HOMES}
  errorfile 503 {word(PAGES / "home_away.http")}
  http-request set-var(txn.at_home) var(txn.home),{homes}
  http-request return status 503 errorfile {word(PAGES / "home_away.http")} unless {{ var(txn.at_home) -m found }}
  http-request set-var-fmt(txn.home_name) %[var(txn.home)].node.skerry
  http-request set-dst var(txn.at_home),field(1,/)
  http-request set-dst-port var(txn.at_home),field(2,/)
  server home 0.0.0.0:0 ssl {ours} sni var(txn.home_name) {SERVER_OPTIONS}

frontend door
  bind "fd@${{{DOOR_FD}}}" ssl {ours} crt-ignore-err 26
{_log_text(LOG_FIELDS)}
  http-request return status 503 errorfile {word(PAGES / "home_away.http")} unless {{ ssl_c_s_dn(CN),field(1,.),{homes} -m found }}
  http-request set-var(txn.at) date(0,us)
  http-request set-var(txn.ray) req.hdr(cf-ray),field(1,-)
  http-request set-var(txn.client) req.hdr(cf-connecting-ip)
  http-request set-var(txn.scheme) req.hdr(x-forwarded-proto)
{_host_text(files)}
{_route_text(files)}
  http-request return status 503 errorfile {word(PAGES / "home_away.http")} if !{{ var(txn.slot) -m found }} or {{ var(txn.slot) -m beg {HOME_PREFIX} }}
{_split_text(files)}
  http-response set-var(txn.said) str(1) if {{ res.hdr({MARKER_HEADER}) -m found }}
{_sampling_text(files)}
  use_backend %[var(txn.slot)]
"""


def _log_text(fields: Mapping[str, str]) -> str:
    return f"""\
  log "fd@${{{LOG_FD}}}" len {LOG_LINE_BYTES} format raw local0
  log-format "{" ".join(fields.values())}\""""


def _sampling_text(files: FrontFiles) -> str:
    """Of the cells in sampled.map one ordinary request of so many has a line, by chance, so that no pattern
    of the visitors' is in step with it. The others are counted, and each line says the count, which only
    grows: a line that is lost takes nobody with it. The last of a frontend's rules for answers, which ends them for
    all others (`allow`).
    """
    return f"""\
  http-response set-var(txn.one_of) srv_name,map_str_int({word(files.sampled)}) if {{ status 200 }} {{ var(txn.said) -m found }}
  http-response allow unless {{ var(txn.one_of) -m found }}
  http-response allow unless {{ res.hdr_val(content-length) le {SAMPLED_BYTES} }}
  http-response track-sc0 srv_name table {SILENT}
  http-response set-var-fmt(txn.silent) {_SILENT_COUNT} if {{ rand({_RAY_CHANCE}),mod(txn.one_of) eq 0 }}
  http-response allow if {{ var(txn.silent) -m found }}
  http-response sc-inc-gpc0(0)
  http-response set-log-level silent"""


def _silent_text(socket: Path) -> str:
    """Where the agent asks for a line with a cell's count, by its name as the path: nobody else may come who
    has one, and the last of those who came had none. See silent.py."""
    fields = LOG_FIELDS | {"cell": "%[var(txn.cell)]"}
    return f"""\
backend {SILENT}
  stick-table type string len {_SILENT_KEY} size {_SILENT_CELLS} store gpc0

frontend asked
  bind {word(socket)} mode 600
{_log_text(fields)}
  http-request set-var(txn.at) date(0,us)
  http-request set-var(txn.cell) path,regsub(^/,)
  http-request track-sc0 var(txn.cell) table {SILENT}
  http-request set-var-fmt(txn.silent) {_SILENT_COUNT}
  http-request return status 204"""


def _host_text(files: FrontFiles) -> str:
    """What the hostname leads to. One that nobody names may end like one of endings.map, which has the
    longest first."""
    return f"""\
  http-request set-var(txn.host) req.hdr(host),lower,host_only,rtrim(.)
  http-request set-var(txn.slot) var(txn.host),map_str({word(files.hosts)})
  http-request set-var(txn.slot) var(txn.host),map_end({word(files.endings)}) unless {{ var(txn.slot) -m found }}"""


def _route_text(files: FrontFiles) -> str:
    """What the path leads to, where the hostname is not simply a slot's. All others skip the rest of a
    frontend's rules (`allow` ends these, not those of the backend), so all that holds for everybody
    comes before.

    A key is the table that the hostname leads to, the scheme and the path, with a `?` behind it. No
    pattern has that within, so an exact one, which is stored with it, is longer than all that may go on,
    and the longest prefix is what `map_beg` finds, in a tree.
    """
    return f"""\
  http-request allow if {{ var(txn.slot) -m beg {SLOT_PREFIX} }}
  http-request set-var-fmt(txn.key) %[var(txn.slot)]/%[var(txn.scheme)]:%[path]{END} if {{ var(txn.slot) -m beg {ROUTES_PREFIX} }}
  http-request unset-var(txn.slot) if {{ var(txn.key) -m found }}
  http-request set-var(txn.slot) var(txn.key),map_beg({word(files.routes)}) if {{ var(txn.key) -m found }}"""


def _split_text(files: FrontFiles) -> str:
    """Which of two versions answers. The last of a frontend's rules: a script with one version skips
    them all.

    An entry of splits.map is newer/threshold/older/script/newer's id/older's id: the slot of the
    newer version, below which bucket it answers, the slot of the older one, and what a visitor may
    ask for, a member of a structured dictionary. `req.hdr` goes through all members there are, on
    however many lines.
    """
    newer, older = (
        f"""'%[var(txn.split),field(4,/)]="%[var(txn.split),field({field},/)]"'"""
        for field in (5, 6)
    )
    asks = f"req.hdr({_OVERRIDES}),field(1,;)"
    return f"""\
  http-request allow unless {{ var(txn.slot) -m beg {SPLIT_PREFIX} }}
  http-request set-var(txn.split) var(txn.slot),map_str({word(files.splits)})
  http-request set-var(txn.below) var(txn.split),field(2,/),add(0)
  http-request set-var(txn.bucket) rand({BUCKETS})
  http-request set-var(txn.bucket) req.fhdr({_KEY}),crc32,mod({BUCKETS}) if {{ req.fhdr({_KEY}),length gt 0 }}
  http-request set-var(txn.slot) var(txn.split),field(3,/)
  http-request set-var(txn.slot) var(txn.split),field(1,/) if {{ var(txn.bucket),sub(txn.below) lt 0 }}
  http-request set-var-fmt(txn.newer) {newer} if {{ req.hdr({_OVERRIDES}) -m found }}
  http-request set-var-fmt(txn.older) {older} if {{ req.hdr({_OVERRIDES}) -m found }}
  http-request set-var(txn.slot) var(txn.split),field(1,/) if {{ {asks},strcmp(txn.newer) eq 0 }}
  http-request set-var(txn.slot) var(txn.split),field(3,/) if {{ {asks},strcmp(txn.older) eq 0 }}"""


def slots_text(
    slots: int, servers: Mapping[int, Iterable[tuple[str, Path]]], held: Collection[str]
) -> str:
    """One backend per slot, with the cells that serve it now; those that are held get nobody."""
    lines = []
    for number in range(slots):
        lines.append(f"backend {slot_name(number)}\n")
        lines += [
            f"  server {name} unix@{path} {SERVER_OPTIONS}{' disabled' * (name in held)}\n"
            for name, path in servers.get(number, ())
        ]
    return "".join(lines)


def slot_name(number: int) -> str:
    return f"{SLOT_PREFIX}{number}"


def split_name(number: int) -> str:
    """What stands in the map of hosts for a script with two versions, and in the map of splits."""
    return f"{SPLIT_PREFIX}{number}"


def home_name(node_id: str) -> str:
    """What stands in the map of hosts for a script that runs on another node."""
    return f"{HOME_PREFIX}{node_id}"
