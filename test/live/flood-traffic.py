"""Ends of real traffic for flood.test.ts: what a role tells goes to standard output, a line each."""
import json, resource, select, socket, struct, sys, threading, time

# Linux: TCP_INFO, and where tcpi_total_retrans stands in it.
TCP_INFO, RETRANSMITTED = 11, 100
ONE, ECHO, DNS, ALLY = 80, 81, 53, 7000


def tell(what):
    print(json.dumps(what), flush=True)


def listener(port):
    return socket.create_server(("", port), backlog=4096)


def connect(host, port):
    # As long as three SYNs take to be sent again.
    made = socket.create_connection((host, port), timeout=8)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def serve():
    """Answers one line a connection, echoes on another port, and answers datagrams."""

    def accept(server, use):
        while True:
            threading.Thread(target=use, args=(server.accept()[0],), daemon=True).start()

    def one(link):
        with link:
            link.sendall(link.recv(100))

    def echo(link):
        while data := link.recv(100):
            link.sendall(data)

    for port, use in ((ONE, one), (ECHO, echo)):
        threading.Thread(target=accept, args=(listener(port), use), daemon=True).start()
    asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asked.bind(("", DNS))
    tell("serves")
    while True:
        question, stranger = asked.recvfrom(100)
        asked.sendto(question, stranger)


def new(host, count):
    """Opens connections one after the other until four fail, and tells how many began, and how many late."""
    begun = late = 0
    failures = []
    for _ in range(int(count)):
        try:
            with connect(host, ONE) as link:
                info = link.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 192)
                late += struct.unpack_from("I", info, RETRANSMITTED)[0] > 0
                link.sendall(b"question")
                if link.recv(100) == b"question":
                    begun += 1
        except OSError as error:
            failures.append(str(error))
            if len(failures) == 4:
                break
    tell({"begun": begun, "failures": failures, "late": late})


def hold(host, count):
    """Keeps connections, asks each again and again, and tells how many did not answer."""
    links = [connect(host, ECHO) for _ in range(int(count))]
    tell("held")
    rounds = 0
    lost = set()
    while not select.select([sys.stdin], [], [], 0)[0]:
        rounds += 1
        for number, link in enumerate(links):
            question = b"%d" % rounds
            try:
                link.sendall(question)
                if link.recv(100) != question:
                    lost.add(number)
            except OSError:
                lost.add(number)
        time.sleep(0.02)
    tell({"rounds": rounds, "lost": len(lost)})


def stranger(host):
    """Two thousand questions a second, each of a connection of its own; tells of each two thousand."""
    echo = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    dns = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    # Its answers are for nobody.
    for link in (echo, dns):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sent, start = 0, time.monotonic()
    while True:
        for _ in range(20):
            number = sent & 0xFFFF
            total = 0x0800 + number
            checksum = ~(total + (total >> 16)) & 0xFFFF
            echo.sendto(struct.pack("!BBHHH", 8, 0, checksum, number, 0), (host, 0))
            port = 1024 + sent % 60_000
            dns.sendto(struct.pack("!HHHH", port, DNS, 16, 0) + b"question", (host, DNS))
            sent += 1
        if sent % 1_000 == 0:
            tell(sent)
        time.sleep(max(0, sent / 1_000 - (time.monotonic() - start)))


def many():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def ally():
    """Takes whatever comes, and keeps it."""
    many()
    server = listener(ALLY)
    tell("serves")
    kept = []
    while True:
        kept.append(server.accept()[0])


def greedy(host):
    """Opens all that an ally takes, and keeps it: more than the whole table."""
    many()
    kept = []
    for _ in range(5_000):
        link = socket.socket()
        link.setblocking(False)
        try:
            link.connect((host, ALLY))
        except BlockingIOError:
            pass
        kept.append(link)
        time.sleep(0.0005)
    tell("opened")
    while True:
        time.sleep(60)


if __name__ == "__main__":
    roles = {each.__name__: each for each in (serve, new, hold, stranger, ally, greedy)}
    roles[sys.argv[1]](*sys.argv[2:])
