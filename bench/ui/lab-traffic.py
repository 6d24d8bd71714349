"""Traffic between the pods of a lab, whose namespaces it enters: the kernel's own sockets.

lab-traffic.py flows RATE < PODS   a datagram to an echo server, from a socket of its own, RATE times a second
lab-traffic.py echo < PODS         for each line NUMBER that follows, so many round trips between the first two pods

PODS is a line of JSON: [{"namespace": PATH, "address": …, "port": …}]. After each second, or round trips, a line of
JSON is printed.
"""

import collections
import ctypes
import json
import os
import socket
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
pods = json.loads(sys.stdin.readline())
spaces = [os.open(pod["namespace"], os.O_RDONLY | os.O_CLOEXEC) for pod in pods]


def in_pod(index):
    if libc.setns(spaces[index], CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def flows(rate):
    """Some pairs often, many seldom. A socket stays for a second, so that its answer finds it."""
    waiting = collections.deque()
    sent = answered = refused = 0
    start = told = time.monotonic()
    while True:
        now = time.monotonic()
        while sent < (now - start) * rate:
            own, other = sent % len(pods), (sent * 7 + sent % 5) % len(pods)
            each = in_pod(own)
            try:
                each.sendto(b"flow", (pods[other]["address"], pods[other]["port"]))
            except OSError:
                refused += 1
            waiting.append((now, each))
            sent += 1
        while waiting and waiting[0][0] < now - 1:
            _, each = waiting.popleft()
            try:
                each.recv(99)
                answered += 1
            except OSError:
                pass
            each.close()
        if now - told >= 1:
            told = now
            print(json.dumps({"sent": sent, "answered": answered, "unsent": refused}), flush=True)
        time.sleep(0.005)


def echo():
    client = in_pod(0)
    client.settimeout(5)
    client.connect((pods[1]["address"], pods[1]["port"]))
    for line in sys.stdin:
        took, lost = [], 0
        for _ in range(int(line)):
            before = time.monotonic_ns()
            client.send(b"echo")
            try:
                client.recv(99)
                took.append((time.monotonic_ns() - before) / 1000)
            except TimeoutError:
                lost += 1
            time.sleep(0.001)
        print(json.dumps({"us": took, "lost": lost}), flush=True)


if sys.argv[1] == "flows":
    flows(int(sys.argv[2]))
else:
    echo()
