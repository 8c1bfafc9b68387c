#!/usr/bin/env python3
"""Programs that work for each other, in control groups: load.py ROOT...

Below each folder ROOT of control groups it makes a group for each program and moves it there: three services, each a
front and a back that talk over a socket, and two programs that work for nobody. One client, in no group, asks the
services in bursts, each service at times of its own. Every request costs the front and the back some CPU time."""
import os, random, socket, sys, threading, time

ROOTS = sys.argv[1:]


def work(seconds):
    """Uses so much CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(200))


def into(group):
    for root in ROOTS:
        os.makedirs(f"{root}/{group}", exist_ok=True)
        with open(f"{root}/{group}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))


def program(group, run):
    """Starts a process in a group of its own, which ends with us."""
    if os.fork() == 0:
        into(group)
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
        run()


def serve(listener, cost, behind):
    """Answers requests; asks who is behind for each of them."""
    def run():
        back = socket.create_connection(behind) if behind else None
        connection, _ = listener.accept()
        while connection.recv(1):
            work(cost)
            if back:
                back.send(b"?")
                back.recv(1)
            connection.send(b"!")
        os._exit(0)
    return run


def listening():
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, listener.getsockname()


def alone(seed):
    def run():
        draw = random.Random(seed)
        while True:
            time.sleep(draw.uniform(0.1, 1.5))
            work(draw.uniform(0.01, 0.05))
    return run


def drive(address, seed):
    """Bursts of requests, and pauses."""
    draw, connection = random.Random(seed), socket.create_connection(address)
    while True:
        for _ in range(draw.randint(2, 10)):
            connection.send(b"?")
            connection.recv(1)
        time.sleep(draw.expovariate(1 / 0.6))


fronts = []
for service in ["shop", "wiki", "mail"]:
    back, back_at = listening()
    front, front_at = listening()
    program(f"{service}-back", serve(back, 0.006, None))
    program(f"{service}-front", serve(front, 0.005, back_at))
    fronts.append(front_at)
for name in ["lone", "cron"]:
    program(name, alone(name))
for seed, address in enumerate(fronts):
    threading.Thread(target=drive, args=(address, seed), daemon=True).start()
sys.stdin.read()
os._exit(0)
