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


def collect(source, seconds, meanwhile=lambda: None, period=None):
    """Samples {name: {end in ms: cores}} of a collector that runs for a while, and what it said."""
    command = ['/root/lwt', 'collect', '--source', source, '--host', 'xen1', '--dry-run']
    command += ['--period', period] if period else []
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    meanwhile()
    time.sleep(seconds)
    child.terminate()
    out, said = child.communicate()
    assert child.returncode == 0, said
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
    samples, said = collect(source, 15, period='%dms' % (period_s * 1000))
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
    time.sleep(4)

    def cap(said):
        assert run(*command, '-d', str(domain), '-c', said) == ''
        row = run(*command, '-d', str(domain)).splitlines()[-1].split()
        assert row == ['burn', str(domain), '256', said], row
        return cores(domain, 6)

    free, capped, again = cores(domain, 6), cap('20'), cap('0')
    print('%s: free %.3f cores, capped at 20 %%: %.3f, restored: %.3f' % (SCHEDULER, free, capped, again))
    assert free > 0.5 and capped < 0.23 and again > 0.5
    run('domu', 'down', 'burn')


assert run('xl', 'info', 'xen_scheduler').strip() == SCHEDULER
run('domu', 'up', 'web', 'seed=1', 'slot=3', 'max=20')
run('domu', 'up', 'db', 'fixed=15')
time.sleep(5)
# Our program counts the same; xentop's percentages have one decimal, and end when it has written them.
compare('xen', 0.1, 0.1)
compare('xen', 1, 0.05)
compare('xentop', 1, 0.1)
guests_come_and_go('xen')
guests_come_and_go('xentop')
caps_hold()
print('ok')
