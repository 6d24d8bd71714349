"""A service manager as far as its store of descriptors goes: keeps what a service sends with FDSTORE=1, and
gives it to the next start as LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PID.

service-manager.py NOTIFY_SOCKET ROOM COMMAND...

Reads `start`, `stop SIGNAL`, `kill` and `drop NAME` from standard input; prints a JSON document for each
message of the service and each of its ends.
"""
import array
import ctypes
import json
import os
import select
import signal
import socket
import sys

path, room, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(path)
store = {}
child = 0
PR_SET_PDEATHSIG = 1


def say(**what):
    print(json.dumps(what), flush=True)


def hear():
    data, ancillary, _, _ = notify.recvmsg(4096, socket.CMSG_SPACE(256 * 4))
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[: len(payload) - len(payload) % 4])
    fields = dict(line.split("=", 1) for line in data.decode().split("\n"))
    name = fields.get("FDNAME", "stored")
    if fields.get("FDSTORE") == "1":
        store.setdefault(name, []).extend(os.dup(each) for each in descriptors)
    if fields.get("FDSTOREREMOVE") == "1":
        for each in store.pop(name, []):
            os.close(each)
    for each in descriptors:
        os.close(each)  # a barrier waits for this
    say(message=fields, stored=sum(len(each) for each in store.values()))


def start():
    global child
    named = [(name, each) for name, all in store.items() for each in all]
    # Above where they are to be, so that none is overwritten before it has moved.
    high = [os.dup2(each, 500 + at) for at, (_, each) in enumerate(named)]
    child = os.fork()
    if child > 0:
        for each in high:
            os.close(each)
        return
    # A test that ends this process by force leaves no service behind.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ["NOTIFY_SOCKET"] = path
    os.environ["FDSTORE"] = str(room)
    if named:
        os.environ["LISTEN_FDS"] = str(len(named))
        os.environ["LISTEN_FDNAMES"] = ":".join(name for name, _ in named)
        os.environ["LISTEN_PID"] = str(os.getpid())
    for at, each in enumerate(high):
        os.dup2(each, 3 + at, inheritable=True)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    # What it prints is no message of ours.
    os.dup2(2, 1)
    os.closerange(3 + len(high), 1000)
    os.execvp(command[0], command)


def waitFor():
    """Its end, hearing what it says before."""
    global child
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        while select.select([notify], [], [], 0 if pid else 0.005)[0]:
            hear()
        if pid:
            child = 0
            say(ended=os.waitstatus_to_exitcode(status))
            return


while True:
    ready = select.select([notify, sys.stdin], [], [], 0.05)[0]
    if notify in ready:
        hear()
    if sys.stdin in ready:
        words = sys.stdin.readline().split()
        if not words:
            break
        if words[0] == "start":
            start()
        elif words[0] == "stop":
            os.kill(child, getattr(signal, words[1]))
            waitFor()
        elif words[0] == "kill":
            os.kill(child, signal.SIGKILL)
            waitFor()
        elif words[0] == "drop":
            for each in store.pop(words[1], []):
                os.close(each)
            say(dropped=words[1])
if child:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
os.unlink(path)
