"""In dom0: what lwt collects is what the hypervisor counts, caps hold, guests come and go. See tests/long/xen."""

import bisect
import json
import subprocess
import sys
import threading
import time

SCHEDULER = sys.argv[1]
VERSION = [open('/sys/hypervisor/version/' + part).read().strip() for part in ('major', 'minor')]
sys.path.insert(0, '/usr/lib/xen-%s.%s/lib/python' % tuple(VERSION))
from xen.lowlevel import xc  # noqa: E402
from agent import Agent  # noqa: E402

HYPERVISOR = xc.xc()


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


class ByHand(threading.Thread):
    """The counters, as often as we can, with the times at which they were read."""

    def __init__(self):
        super().__init__(daemon=True)
        self.read, self.on = {}, True

    def run(self):
        while self.on:
            before = time.time()
            found = HYPERVISOR.domain_getinfo()
            at = (before + time.time()) / 2
            for domain in found:
                self.read.setdefault(domain['domid'], []).append((at, domain['cpu_time']))
            time.sleep(0.05)

    def at(self, domain, t):
        """The counter at t, on a straight line between two readings."""
        readings = self.read[domain]
        i = bisect.bisect(readings, (t, 0))
        if i in (0, len(readings)):
            return None
        (t0, c0), (t1, c1) = readings[i - 1], readings[i]
        return c0 + (c1 - c0) * (t - t0) / (t1 - t0)


def collect(source, messages, meanwhile=lambda: None, period=None):
    """Samples {name: {end in ms: cores}} of a collector that runs until it has sent so many messages, after that has been done,
    and what it said. How long it takes to begin depends on what else this emulated host does."""
    command = ['/root/lwt', 'collect', '--source', source, '--host', 'xen1', '--dry-run']
    command += ['--period', period] if period else []
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines, said = [], []
    reads = [threading.Thread(target=lambda pipe=pipe, to=to: to.extend(iter(pipe.readline, '')), daemon=True)
             for pipe, to in ((child.stdout, lines), (child.stderr, said))]
    [read.start() for read in reads]

    def wait(more):
        wanted, until = len(lines) + more, time.time() + 120
        while len(lines) < wanted:
            assert time.time() < until and child.poll() is None, (len(lines), ''.join(said))
            time.sleep(0.1)

    wait(1)
    meanwhile()
    wait(messages)
    child.terminate()
    [read.join() for read in reads]
    out, said = ''.join(lines), ''.join(said)
    assert child.wait() == 0, said
    samples, overhead = {}, 0
    for line in out.splitlines():
        message = json.loads(line)
        overhead += 'overhead_ppm' in message
        for vm in message['vms']:
            values = vm['cpu_ppm'] if isinstance(vm['cpu_ppm'], list) else [vm['cpu_ppm']]
            for back, ppm in enumerate(reversed(values)):
                samples.setdefault(vm['name'], {})[message['t_ms'] - back * message['period_ms']] = ppm / 1e6
    assert overhead > 0 and 'Domain-0' not in samples, out[:500]
    return samples, said


def number(name):
    return int(run('xl', 'domid', name))


def cores(domain, seconds):
    """What a domain uses, by its counter."""
    at = lambda: next((time.time(), d['cpu_time']) for d in HYPERVISOR.domain_getinfo() if d['domid'] == domain)
    t0, c0 = at()
    time.sleep(seconds)
    t1, c1 = at()
    return (c1 - c0) / (t1 - t0) / 1e9


def compare(source, period_s, limit):
    hand = ByHand()
    hand.start()
    samples, said = collect(source, 12, period='%dms' % (period_s * 1000))
    hand.on = False
    for name in ('web', 'db'):
        off, seen, told_s, hand_s = [], samples[name], 0, 0
        for t_ms, told in seen.items():
            ends = hand.at(number(name), t_ms / 1000), hand.at(number(name), t_ms / 1000 - period_s)
            if None not in ends:
                used = (ends[0] - ends[1]) / 1e9
                off.append(abs(told - used / period_s))
                told_s, hand_s = told_s + told * period_s, hand_s + used
        mean = sum(off) / max(len(off), 1)
        print('%s every %g s: %s: %d samples, %.3f s of CPU time, by hand %.3f s; a sample is off by %.4f cores (mean), '
              '%.4f (worst)' % (source, period_s, name, len(off), told_s, hand_s, mean, max(off, default=0)), flush=True)
        assert len(off) > 5 / period_s and mean < limit and abs(told_s - hand_s) < 0.05 * hand_s + 0.05 + 0.4 * period_s, said


def guests_come_and_go(source):
    def meanwhile():
        time.sleep(5)
        run('domu', 'up', 'late', 'fixed=30')
        time.sleep(5)
        run('domu', 'down', 'late')

    samples, said = collect(source, 6, meanwhile)
    late, web = samples['late'], samples['web']
    assert min(late) > min(web) and max(late) < max(web), (late, said)
    print('%s: a guest that came and went: %.1f of %.1f s' % (source, (max(late) - min(late)) / 1000,
                                                            (max(web) - min(web)) / 1000))


def caps_hold():
    command = ['xl', 'sched-' + SCHEDULER]
    run('domu', 'up', 'burn', 'fixed=80')
    domain = number('burn')
    time.sleep(10)

    def cap():
        name, number_, weight, cap = run(*command, '-d', str(domain)).splitlines()[-1].split()
        assert (name, number_, weight) == ('burn', str(domain), '256')
        return int(cap)

    def capped_to(said):
        assert run(*command, '-d', str(domain), '-c', said) == '' and cap() == int(said)
        return cores(domain, 6)

    free, capped, again = cores(domain, 6), capped_to('20'), capped_to('0')
    print('%s, by hand: free %.3f cores, capped at 20 %%: %.3f, restored: %.3f' % (SCHEDULER, free, capped, again), flush=True)
    assert free > 0.5 and capped < 0.23 and again > 0.5
    agent_caps(domain, cap)
    run('domu', 'down', 'burn')


def agent_caps(domain, cap):
    """Our agent caps it as a signed command says, and puts back what was there; so does its keeper when it is killed."""
    vm = next(line.split()[0] for line in run('xl', 'vm-list').splitlines() if line.split()[1] == str(domain))
    agent = Agent('/root/lwt', 'xen1', 'burn', '/root/state', ['actuator=' + SCHEDULER])
    asked = agent.ask(vm, 0.3, 5000, '10')
    told = agent.done(asked, 'applied', 30)
    set_, got = cap(), cores(domain, 3)
    agent.done(asked, 'lifted', 30)
    after = cap()
    print('%s, the agent: it used %.3f cores, was capped to %.3f (%d %%) and got %.3f; afterwards the cap is %d' % (
        SCHEDULER, told['used_ppm'] / 1e6, told['cap_ppm'] / 1e6, set_, got, after), flush=True)
    assert set_ > 0 and abs(set_ * 1e4 - told['cap_ppm']) <= 1e4 and got < set_ / 100 * 1.15 and after == 0
    asked = agent.ask(vm, 0.3, 5000, '11')
    agent.done(asked, 'applied', 30)
    assert cap() > 0
    agent.child.kill()
    killed = time.time()
    while cap() > 0:
        assert time.time() < killed + 30, 'the keeper does not put it back'
        time.sleep(0.2)
    print('%s: the agent is killed: the keeper puts the cap back after %.1f s' % (SCHEDULER, time.time() - killed), flush=True)


def booted(*names):
    """A guest that boots uses all it gets."""
    for name in names:
        until = time.time() + 600
        while cores(number(name), 2) > 0.6:
            assert time.time() < until, name


assert run('xl', 'info', 'xen_scheduler').strip() == SCHEDULER
run('domu', 'up', 'web', 'seed=1', 'slot=3', 'max=20')
run('domu', 'up', 'db', 'fixed=15')
booted('web', 'db')
print('the guests are up', flush=True)
# Our program counts the same; xentop's percentages have one decimal, and end when it has written them.
compare('xen', 0.1, 0.1)
compare('xen', 1, 0.05)
compare('xentop', 1, 0.1)
guests_come_and_go('xen')
guests_come_and_go('xentop')
caps_hold()
print('ok')
