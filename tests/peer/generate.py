"""A trace for measuring speed: VMs in groups of 3 or 4 that share one bursty demand.

usage: generate.py VMS TICKS OUT.csv    writes t,vm,cpu in percent of a core"""
import sys
import numpy as np

vms, ticks, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
draw = np.random.default_rng(11)
use = []
while len(use) < vms:
    drift = np.zeros(ticks)
    for t in range(1, ticks):
        drift[t] = 0.9 * drift[t - 1] + draw.normal(0, 0.1)
    demand = np.clip(20 * (1 + drift), 1, None)
    for _ in range(draw.integers(3, 5)):
        share, noise = draw.uniform(0.2, 1.5), 1 + draw.normal(0, 0.1, ticks)
        use.append(np.clip(demand * share * noise + draw.gamma(2, 0.5, ticks), 0, 100))
with open(out, "w") as file:
    file.write("t,vm,cpu\n")
    for t in range(ticks):
        file.write("".join(f"{t},vm{i:06d},{use[i][t]:.1f}\n" for i in range(vms)))
