"""The hands of siege.test.ts in its namespaces: `siege.py ROLE` reads a JSON document from standard input, and prints one a line.

judge: sends and counts datagrams that policy allows and denies. frames: sends hostile frames. connections: opens short TCP
connections. relay: hands connections of a Unix socket on to a port behind a namespace."""
import asyncio, ctypes, json, os, select, socket, struct, sys, time

libc = ctypes.CDLL("libc.so.6", use_errno=True)


def within(path, make):
    """Makes a socket in another network namespace, where it stays."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(path, os.O_RDONLY)
    try:
        if libc.setns(there, 0x40000000): raise OSError(ctypes.get_errno(), "setns")
        return make()
    finally:
        libc.setns(home, 0x40000000)
        os.close(home)
        os.close(there)


def udp(path, address, port):
    def make():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        s.bind((address, port))
        s.setblocking(False)
        return s
    return within(path, make)


def listener(path, port):
    def make():
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("0.0.0.0", port))
        s.listen(512)
        s.setblocking(False)
        return s
    return within(path, make)


def say(document): print(json.dumps(document), flush=True)


def send(link, data, to):
    try: link.sendto(data, to)
    except OSError: pass


def judge(given):
    pods, peer, network = given["pods"], given["peer"], given["network"]
    heard, denied, examples = {}, 0, []
    def hear(link, act): heard[link.fileno()] = (link, act)
    echoed, arrived = [0] * len(pods), [0] * len(pods)
    last, gap = [time.monotonic()] * len(pods), [0.0] * len(pods)
    number = {pod["address"]: at for at, pod in enumerate(pods)}
    def breach(what, sender, data):
        nonlocal denied
        denied += 1
        if len(examples) < 20: examples.append(f"{what} from {sender[0]}:{sender[1]}: {data[:40].hex()}")
    asking, shouting = udp(network, peer, 7777), udp(network, peer, 7778)
    shouters = []
    def echo(link):
        def act(data, sender): send(link, data, sender)
        return act
    for at, pod in enumerate(pods):
        closed, open_ = udp(pod["path"], "0.0.0.0", 80), udp(pod["path"], "0.0.0.0", 9000)
        # A pod may have sent a frame from port 80 to 9001: what comes back from there is an answer.
        hear(closed, lambda data, sender, at=at: sender[1] == 9001 or breach(f"to pod {at} port 80", sender, data))
        hear(open_, echo(open_))
        shouters.append(udp(pod["path"], "0.0.0.0", 7779))
    def answer(data, sender):
        at = number.get(sender[0])
        if at is None or sender[1] != 9000 or data[:5] != b"ask: ": return
        now = time.monotonic()
        echoed[at] += 1
        gap[at] = max(gap[at], now - last[at])
        last[at] = now
    hear(asking, answer)
    out, open_ = udp(network, peer, 81), udp(network, peer, 9001)
    # A frame from port 81 may have asked a pod's port 9000, which answers.
    hear(out, lambda data, sender: sender[1] == 9000 or breach("to the peer's port 81", sender, data))
    def count(data, sender):
        at = number.get(sender[0])
        if at is not None: arrived[at] += 1
    hear(open_, count)
    poll = select.epoll()
    for descriptor in heard: poll.register(descriptor, select.EPOLLIN)
    sent, due, told = 0, 0.0, 0.0
    say({"ready": True})
    while True:
        now = time.monotonic()
        if now >= due:
            due, sent = now + 0.2, sent + 1
            for pod, shouter in zip(pods, shouters):
                send(asking, b"ask: " + str(sent).encode(), (pod["address"], 9000))
                send(shouting, b"denied", (pod["address"], 80))
                send(shouter, b"denied", (peer, 81))
                send(shouter, b"allowed", (peer, 9001))
        for descriptor, _ in poll.poll(0.05):
            link, act = heard[descriptor]
            for _ in range(64):
                try: data, sender = link.recvfrom(65535)
                except BlockingIOError: break
                except OSError: break
                act(data, sender)
        if now >= told:
            told = now + 1
            ages = [round(now - each, 2) for each in last]
            gaps = [round(max(each, age), 2) for each, age in zip(gap, ages)]
            say({"denied": denied, "examples": examples, "sent": sent, "echoed": echoed, "arrived": arrived, "ages": ages, "gaps": gaps})


def frames(given):
    """Sends the frames of a file again and again; a record is: outside?, pod, length (2 bytes), frame."""
    links, broken, sent, told, seen = {}, {}, 0, 0.0, None
    def link(side, at):
        key = (side, at)
        if key in links: return links[key]
        if broken.get(key, 0) > time.monotonic(): return None
        path, name = given["ends"][side][at]
        def make():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            s.bind((name, 0))
            return s
        try: links[key] = within(path, make)
        except OSError: broken[key] = time.monotonic() + 0.5
        return links.get(key)
    while True:
        stamp = os.stat(given["file"]).st_mtime_ns
        if stamp != seen:
            seen, records = stamp, open(given["file"], "rb").read()
        at = 0
        burst = 0
        while at < len(records):
            side, pod, length = struct.unpack_from(">BBH", records, at)
            frame = records[at + 4:at + 4 + length]
            at += 4 + length
            end = link(side, pod)
            if end is not None:
                try:
                    end.send(frame)
                    sent += 1
                except OSError as error:
                    # A frame that the kernel does not take is no reason to open the link anew.
                    if error.errno in (6, 19, 100): links.pop((side, pod)).close()
            burst += 1
            if burst % given["burst"] == 0: time.sleep(0.005)
            if time.monotonic() > told:
                told = time.monotonic() + 1
                say({"frames": sent})


async def connections(given):
    done = failed = 0
    async def serve(reader, writer):
        try:
            writer.write(await reader.read(100))
            await writer.drain()
        except OSError: pass
        writer.close()
    for pod in given["pods"]:
        await asyncio.start_server(serve, sock=listener(pod["path"], 9002))
    loop = asyncio.get_running_loop()
    async def client(turn):
        nonlocal done, failed
        while True:
            pod = given["pods"][turn % len(given["pods"])]
            turn += given["clients"]
            def make():
                s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                s.setblocking(False)
                return s
            link = within(given["network"], make)
            try:
                await asyncio.wait_for(loop.sock_connect(link, (pod["address"], 9002)), 3)
                await loop.sock_sendall(link, b"ping")
                if await asyncio.wait_for(loop.sock_recv(link, 100), 3) == b"ping": done += 1
                else: failed += 1
            except (OSError, asyncio.TimeoutError): failed += 1
            if turn % 8 == 0: link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.close()
            await asyncio.sleep(given["pause"])
    for turn in range(given["clients"]): asyncio.create_task(client(turn))
    while True:
        await asyncio.sleep(1)
        say({"done": done, "failed": failed})


async def relay(given):
    loop = asyncio.get_running_loop()
    async def pump(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError: writer.transport.abort()
    async def serve(reader, writer):
        def make():
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            s.setblocking(False)
            return s
        link = within(given["network"], make)
        try:
            await loop.sock_connect(link, (given["address"], given["port"]))
            far, away = await asyncio.open_connection(sock=link)
        except OSError:
            link.close()
            writer.transport.abort()
            return
        await asyncio.gather(pump(reader, away), pump(far, writer), return_exceptions=True)
        away.close()
        writer.close()
    await asyncio.start_unix_server(serve, given["socket"], backlog=512)
    say({"ready": True})
    await asyncio.Event().wait()


role, given = sys.argv[1], json.loads(sys.stdin.readline())
if role == "judge": judge(given)
elif role == "frames": frames(given)
elif role == "connections": asyncio.run(connections(given))
elif role == "relay": asyncio.run(relay(given))
