# What Xen's own tools count, in nanoseconds; asked and answered as virsh is: domstats, list, echo.
import sys


def version(part):
    with open('/sys/hypervisor/version/' + part) as file:
        return file.read().strip()


# Debian keeps the tools of each version of the hypervisor apart.
sys.path.insert(0, '/usr/lib/xen-%s.%s/lib/python' % (version('major'), version('minor')))
try:
    from xen.lowlevel import xc, xs
except ImportError as error:
    sys.exit('Python has no interface to Xen (%s): install python3-xen, or take --source xentop' % error)
counters, store, names, asked = xc.xc(), xs.xs(), {}, 0


def name_of(domain):
    # A new domain has a number of its own; one that is renamed is found out after some seconds.
    if domain not in names:
        name = store.read('', '/local/domain/%d/name' % domain)
        names[domain] = name.decode(errors='replace') if isinstance(name, bytes) else name
    return names[domain]


for line in sys.stdin:
    words = line.split()
    if words[0] == 'echo':
        print(words[1], flush=True)
        continue
    asked += 1
    if asked % 50 == 0:
        names.clear()
    for domain in counters.domain_getinfo():
        name = None if domain['dying'] else name_of(domain['domid'])
        if name and words[0] == 'domstats':
            print("Domain: '%s'\n  cpu.time=%d" % (name, domain['cpu_time']))
        elif name:
            digits = '%02x' * 16 % tuple(domain['handle'])
            print('-'.join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])), name)
