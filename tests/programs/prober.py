"""Sends packets from a network namespace, and says which of others' got here.

Started by tests/src/prober.rs as `prober.py NAME PORT...` in the namespace; a line of JSON in asks for something, a line of JSON
out is the answer. Every port is served, for TCP and UDP, IPv4 and IPv6: who sends a token gets `NAME ADDRESS-OF-THE-CLIENT`, and
the token is remembered as seen, so that a packet that arrived shows also where its answer did not.

At the last port whoever comes gets a stream: both sides send something every 10 ms, and count what they get.
"""

import fcntl
import json
import os
import selectors
import socket
import struct
import sys
import threading
import time

NAME = sys.argv[1]
PORTS = [int(word) for word in sys.argv[2:]]
STREAM = PORTS[-1]
INTERVAL = 0.01

lock = threading.Lock()
seen = []
flows = {}


def plain(address):
    return address.removeprefix("::ffff:")


def witness(token):
    with lock:
        seen.append(token)


# --- what is served

def serve(listeners, datagrams):
    selector = selectors.DefaultSelector()
    for listener in listeners:
        selector.register(listener, selectors.EVENT_READ, "listener")
    for socket_ in datagrams:
        selector.register(socket_, selectors.EVENT_READ, "datagrams")
    while True:
        for key, _ in selector.select():
            try:
                if key.data == "listener":
                    client, peer = key.fileobj.accept()
                    if key.fileobj.getsockname()[1] == STREAM:
                        Flow(f"from {plain(peer[0])} tcp", client).start()
                        continue
                    client.setblocking(False)
                    selector.register(client, selectors.EVENT_READ, plain(peer[0]))
                elif key.data == "datagrams":
                    take_datagrams(key.fileobj)
                else:
                    token = key.fileobj.recv(1000)
                    if token:
                        witness(token.decode())
                        key.fileobj.send(f"{NAME} {key.data}".encode())
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
            except OSError:
                # An error that came for a packet sent before.
                if key.data not in ("listener", "datagrams"):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


def take_datagrams(socket_):
    token, ancillary, _, peer = socket_.recvmsg(1000, 200)
    # From the address that was asked, whichever that is.
    where = [(level, kind, data[:16] + bytes(4)) for level, kind, data in ancillary if kind == socket.IPV6_PKTINFO]
    client = plain(peer[0])
    if socket_.getsockname()[1] == STREAM:
        name = f"from {client} udp"
        with lock:
            flow = flows.get(name)
        if flow is None or not flow.goes_on(peer):
            flow = Flow(name, None, lambda data: socket_.sendmsg([data], where, 0, peer), peer)
            flow.start()
        flow.got()
        return
    witness(token.decode())
    socket_.sendmsg([f"{NAME} {client}".encode()], where, 0, peer)


# --- streams

class Flow:
    """A connection, or datagrams back and forth, under a name."""

    def __init__(self, name, socket_, send=None, peer=None):
        self.name, self.socket, self.peer = name, socket_, peer
        self.send = send or self.send_to_socket
        self.sent = self.received = self.refused = 0
        self.ended = None
        self.stopped = False

    def send_to_socket(self, data):
        self.socket.send(data)

    def goes_on(self, peer):
        return self.peer == peer and not self.stopped

    def start(self):
        with lock:
            old = flows.get(self.name)
            flows[self.name] = self
        if old:
            old.stopped = True
        threading.Thread(target=self.talk, daemon=True).start()
        if self.socket:
            threading.Thread(target=self.listen, daemon=True).start()

    def is_stream(self):
        return self.socket is not None and self.socket.type == socket.SOCK_STREAM

    def got(self):
        self.received += 1

    def talk(self):
        while not self.stopped and not self.ended:
            try:
                self.send(b"tick")
            except OSError as error:
                self.refused += 1
                if self.is_stream():
                    self.ended = self.ended or error.strerror
            # A turn whether or not it went out.
            self.sent += 1
            time.sleep(INTERVAL)

    def listen(self):
        while not self.stopped and not self.ended:
            try:
                if self.socket.recv(1000):
                    self.got()
                else:
                    self.ended = self.ended or "end of stream"
            except OSError as error:
                self.refused += 1
                if self.is_stream():
                    self.ended = self.ended or error.strerror

    def said(self):
        return {"sent": self.sent, "received": self.received, "refused": self.refused, "ended": self.ended}


# --- what is tried

def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Probe:
    """One try: a connection, a datagram or an echo request."""

    count = 0

    def __init__(self, selector, kind, address, port, token):
        self.kind, self.token, self.result = kind, token, None
        self.selector, self.to = selector, (address, port)
        family = family_of(address)
        kinds = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0)}
        icmp = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
        self.socket = socket.socket(family, *kinds.get(kind, (socket.SOCK_RAW, icmp)))
        self.socket.setblocking(False)
        selector.register(self.socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if kind == "tcp" else 0), self)
        try:
            if kind == "tcp":
                if self.socket.connect_ex(self.to) not in (0, 115):
                    self.fails(OSError(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "cannot connect"))
            elif kind == "udp":
                self.socket.connect(self.to)
                self.socket.send(token.encode())
            else:
                self.socket.connect((address, 0))
                Probe.count += 1
                self.sequence = Probe.count & 0xFFFF
                self.echo(family)
        except OSError as error:
            self.fails(error)

    def echo(self, family):
        asks, self.answers = (128, 129) if family == socket.AF_INET6 else (8, 0)
        self.id = os.getpid() & 0xFFFF
        head = struct.pack("!BBHHH", asks, 0, 0, self.id, self.sequence)
        # The kernel sums up what is ICMPv6's.
        self.socket.send(struct.pack("!BBHHH", asks, 0, checksum(head), self.id, self.sequence))

    def fails(self, error):
        self.done({"error": error.strerror or str(error)})

    def done(self, result):
        self.result = result
        self.selector.unregister(self.socket)
        self.socket.close()

    def step(self, events):
        try:
            if events & selectors.EVENT_WRITE:
                code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                # tcpi_total_retrans: that a packet was lost, which TCP would hide.
                self.again = struct.unpack_from("I", self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0]
                self.socket.send(self.token.encode())
                self.selector.modify(self.socket, selectors.EVENT_READ, self)
                return
            data = self.socket.recv(2000)
        except BlockingIOError:
            return
        except OSError as error:
            return self.fails(error)
        if self.kind in ("tcp", "udp"):
            said = {"answer": data.decode()} if data else {"error": "end of stream"}
            return self.done(said | {"lost": getattr(self, "again", 0)})
        if family_of(self.to[0]) == socket.AF_INET:
            data = data[(data[0] & 15) * 4:]
        kind, _, _, id_, sequence = struct.unpack_from("!BBHHH", data)
        if (kind, id_, sequence) == (self.answers, self.id, self.sequence):
            self.done({"answer": "echo"})


class Batch:
    """Probes that are under way together."""

    def __init__(self, probes):
        self.selector = selectors.DefaultSelector()
        self.probes = [Probe(self.selector, *probe) for probe in probes]

    def poll(self, seconds):
        events = self.selector.select(seconds) if self.selector.get_map() else []
        for key, events in events:
            if key.data.result is None:
                key.data.step(events)
        return events

    def end(self, needed, limit):
        """What became of them; waits for those that are needed alone."""
        deadline = time.monotonic() + limit
        while any(probe.result is None for probe, need in zip(self.probes, needed) if need):
            left = deadline - time.monotonic()
            if left < 0:
                break
            self.poll(left)
        # What is there now, in one turn after the other.
        while self.poll(0):
            pass
        results = [probe.result or {"silent": True} for probe in self.probes]
        for probe in self.probes:
            if probe.result is None:
                probe.done({})
        self.selector.close()
        return results


class Stream:
    """The same probes again and again: what must get through does each time, and what must not never does."""

    def __init__(self, good, bad, limit):
        self.good, self.bad, self.limit = good, bad, limit
        self.rounds, self.faults, self.stopped = 0, [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped and not self.faults:
            batch = Batch(self.bad + self.good)
            needed = [False] * len(self.bad) + [True] * len(self.good)
            for probe, result, need in zip(self.bad + self.good, batch.end(needed, self.limit), needed):
                if need != ("answer" in result) or result.get("lost"):
                    self.faults.append([probe, result])
            self.rounds += 1

    def end(self):
        self.stopped = True
        self.thread.join()
        return {"rounds": self.rounds, "faults": self.faults}


# --- packets as nobody's kernel would send them

def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def own_mac(interface):
    with socket.socket() as any_:
        return fcntl.ioctl(any_, 0x8927, struct.pack("256s", interface.encode()))[18:24]


def datagram(source, destination, port, token):
    data = token.encode()
    family = family_of(destination)
    from_, to = socket.inet_pton(family, source), socket.inet_pton(family, destination)
    length = 8 + len(data)
    head = struct.pack("!HHHH", 4000, port, length, 0)
    pseudo = from_ + to + struct.pack("!IHBB", length, 0, 0, 17)
    udp = struct.pack("!HHHH", 4000, port, length, checksum(pseudo + head + data) or 0xFFFF) + data
    if family == socket.AF_INET6:
        return 0x86DD, struct.pack("!IHBB", 6 << 28, length, 17, 64) + from_ + to + udp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, 17, 0) + from_ + to
    return 0x0800, head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp


def claim(ip, owner, gateway):
    """An answer that nobody asked for: `ip` is at `owner`."""
    if family_of(ip) == socket.AF_INET:
        address = socket.inet_pton(socket.AF_INET, ip)
        to = socket.inet_pton(socket.AF_INET, gateway)
        return 0x0806, struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + owner + address + bytes(6) + to
    address, to = socket.inet_pton(socket.AF_INET6, ip), socket.inet_pton(socket.AF_INET6, gateway)
    body = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + address + struct.pack("!BB", 2, 1) + owner
    pseudo = address + to + struct.pack("!IHBB", len(body), 0, 0, 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    return 0x86DD, struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + address + to + body


def send_frame(kind, payload, source, destination, interface="eth0"):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((interface, 0))
        raw.send(destination + source + struct.pack("!H", kind) + payload)


# --- what the test asks for

class Prober:
    def __init__(self):
        self.batches, self.streams = [], []

    def begin(self, probes):
        self.batches.append(Batch(probes))

    def end(self, needed, limit):
        return self.batches.pop().end(needed, limit)

    def seen(self):
        with lock:
            tokens = list(seen)
            seen.clear()
        return tokens

    def stream(self, good, bad, limit):
        self.streams.append(Stream(good, bad, limit))

    def rounds(self):
        return [stream.rounds for stream in self.streams]

    def streams_end(self):
        ended = [stream.end() for stream in self.streams]
        self.streams = []
        return ended

    def flow(self, name, kind, address, port=STREAM):
        socket_ = socket.socket(family_of(address), socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        socket_.settimeout(5)
        socket_.connect((address, port))
        socket_.settimeout(None)
        Flow(name, socket_).start()

    def flows(self):
        with lock:
            return {name: flow.said() for name, flow in flows.items()}

    def flows_end(self):
        with lock:
            for flow in flows.values():
                flow.stopped = True
            flows.clear()

    def datagram(self, mac_source, mac_destination, source, destination, port, token):
        kind, payload = datagram(source, destination, port, token)
        send_frame(kind, payload, mac(mac_source), mac(mac_destination))

    def claim(self, ip, owner, gateway):
        kind, payload = claim(ip, mac(owner), gateway)
        send_frame(kind, payload, own_mac("eth0"), b"\xff" * 6)

    def bind(self, kind, address, port, options):
        """Whether a port can be had, with these options of sockets: what it says if not."""
        with socket.socket(family_of(address), socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as taker:
            for option in options:
                taker.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
            try:
                taker.bind((address, port))
                if kind == "tcp":
                    taker.listen()
            except OSError as error:
                return error.strerror


def main():
    listeners, datagrams = [], []
    for port in PORTS:
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        datagram_ = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        for socket_ in listener, datagram_:
            socket_.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        datagram_.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        listener.bind(("::", port))
        datagram_.bind(("::", port))
        listener.listen(1000)
        listeners.append(listener)
        datagrams.append(datagram_)
    threading.Thread(target=serve, args=(listeners, datagrams), daemon=True).start()
    prober = Prober()
    print("ready", flush=True)
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        try:
            answer = {"done": getattr(prober, verb)(*arguments)}
        except OSError as error:
            answer = {"failed": error.strerror or str(error)}
        print(json.dumps(answer), flush=True)


main()
