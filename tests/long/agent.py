"""`lwt perturb agent` on a host, told by standard input what a plan would tell it: with commands signed here (Ed25519 as in
RFC 8032, slow and short)."""

import hashlib
import json
import subprocess
import threading
import time

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE_Y = 4 * pow(5, -1, P) % P


def _root(y):
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    return x if x % 2 == 0 else P - x


BASE = (_root(BASE_Y), BASE_Y, 1, _root(BASE_Y) * BASE_Y % P)


def _add(a, b):
    u, v = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = v - u, d - c, d + c, v + u
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(n, point):
    sum_ = (0, 1, 1, 0)
    while n:
        sum_ = _add(sum_, point) if n & 1 else sum_
        point, n = _add(point, point), n >> 1
    return sum_


def _pack(point):
    inverse = pow(point[2], -1, P)
    return (point[1] * inverse % P | (point[0] * inverse % P % 2) << 255).to_bytes(32, 'little')


def _number(*parts):
    return int.from_bytes(hashlib.sha512(b''.join(parts)).digest(), 'little')


class Key:
    """A pair of keys."""

    def __init__(self, secret):
        hashed = hashlib.sha512(secret).digest()
        self.scalar = int.from_bytes(hashed[:32], 'little') & (1 << 254) - 8 | 1 << 254
        self.prefix, self.public = hashed[32:], _pack(_times(self.scalar, BASE))

    def sign(self, text):
        once = _number(self.prefix, text) % L
        point = _pack(_times(once, BASE))
        return point + ((once + _number(point, self.public, text) * self.scalar) % L).to_bytes(32, 'little')


class Agent:
    """The agent of host `host`, which may cap the VM called `vm`."""

    def __init__(self, program, host, vm, state, settings):
        self.host, self.key, self.reports, self.said = host, Key(bytes(range(32))), [], []
        own = ['enabled=true', 'allow=' + vm, 'floor=0.1', 'lease=12s', 'lately=4s', 'state=' + state,
               'trusted=' + self.key.public.hex()]
        sets = ['perturb.' + one for one in own + settings] + ['collect.host=' + host]
        command = [program, 'perturb', 'agent', '--commands', '-']
        for one in sets:
            command += ['--set', one]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        take = lambda line: self.reports.append(json.loads(line))
        for pipe, to in ((self.child.stdout, take), (self.child.stderr, self.said.append)):
            threading.Thread(target=lambda pipe=pipe, to=to: [to(line) for line in iter(pipe.readline, '')], daemon=True).start()

    def ask(self, vm, share, slot_ms, code):
        """Asks for a cap until the agent takes it up: at first it knows not what the VM uses."""
        for _ in range(20):
            now = int(time.time() * 1000)
            start = now + 2500
            command = json.dumps({
                'v': 1, 'serial': now, 'host': self.host, 'vm': vm, 'start_ms': start, 'slot_ms': slot_ms, 'code': code,
                'share': share, 'issued_ms': now, 'expires_ms': start + slot_ms * len(code)})
            signed = {'command': command, 'signature': self.key.sign(command.encode()).hex()}
            self.child.stdin.write(json.dumps(signed) + '\n')
            self.child.stdin.flush()
            said = self.wait(lambda report: report['serial'] == now, 8)
            if said and said['done'] == 'accepted':
                return now
            time.sleep(1)
        raise SystemExit('nothing is taken up: %s %s' % (self.reports, self.said))

    def wait(self, what, seconds):
        """The first report of which that holds."""
        until = time.time() + seconds
        while time.time() < until:
            found = next(filter(what, self.reports), None)
            if found:
                return found
            time.sleep(0.02)

    def done(self, serial, what, seconds):
        """The report that it did so."""
        found = self.wait(lambda report: report['serial'] == serial and report['done'] == what, seconds)
        assert found, (what, self.reports, self.said)
        return found
