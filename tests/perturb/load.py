#!/usr/bin/env python3
"""Clients with servers, and loners, in control groups: load.py PAIRS LONERS ROOT...

Each program is a process in a group of its own below every ROOT. A client works, asks its server over a socket, which works
and answers, and thinks; a loner works and thinks. All of them think less or more in one common cycle of 20 s: they rise and
fall together without having to do with each other. With SHARE below 1 (in the environment) a client asks its server for that
share of its work only, and for the rest the server works for itself. WORK is how much work all do, 1 by default: 4 % of a
core. Ends with its standard input."""
import math, os, random, socket, sys, threading, time

PAIRS, LONERS, ROOTS = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
SHARE, WORK = (float(os.environ.get(name, "1")) for name in ("SHARE", "WORK"))
# The first client, so that who starts later has the same cycle.
BEGAN = time.time()


def work(draw):
    """Uses CPU time."""
    end = time.thread_time() + WORK * draw.uniform(0.002, 0.006)
    while time.thread_time() < end:
        sum(range(100))


def think(draw):
    cycle = 1 + 0.5 * math.sin((time.time() - BEGAN) * math.tau / 20)
    time.sleep(draw.expovariate(1 / (0.09 * cycle)))


def program(group, run):
    """Starts a process in a group of its own, which ends with us."""
    if os.fork() == 0:
        for root in ROOTS:
            os.makedirs(f"{root}/{group}", exist_ok=True)
            with open(f"{root}/{group}/cgroup.procs", "w") as file:
                file.write(str(os.getpid()))
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
        run(random.Random(group))


def client(address):
    def run(draw):
        server = socket.create_connection(address)
        while True:
            work(draw)
            if draw.random() < SHARE:
                server.send(b"?")
                server.recv(1)
            think(draw)
    return run


def server(listener):
    def run(draw):
        if SHARE < 1:
            threading.Thread(target=for_itself, args=(random.Random(draw.random()),), daemon=True).start()
        asked, _ = listener.accept()
        while asked.recv(1):
            work(draw)
            asked.send(b"!")
        os._exit(0)
    return run


def for_itself(draw):
    while True:
        if draw.random() > SHARE:
            work(draw)
        think(draw)


def loner(draw):
    while True:
        work(draw)
        think(draw)


for i in range(PAIRS):
    listener = socket.create_server(("127.0.0.1", 0))
    program(f"server{i}", server(listener))
    program(f"client{i}", client(listener.getsockname()))
for i in range(LONERS):
    program(f"loner{i}", loner)
sys.stdin.read()
os._exit(0)
