"""Writes cases.json: windows of real recordings, and what statsmodels makes of them.

Usage: make.py DIRECTORY-OF-RECORDINGS > cases.json   (needs numpy, pandas, statsmodels)
"""
import json, sys
import numpy as np, pandas as pd
from statsmodels.regression.linear_model import yule_walker
from statsmodels.tsa.ar_model import AutoReg

VMS = {"mix-a": ["a0-mysql", "s0-n1"], "hub-a": ["hub-mysql", "i0-client"],
       "cycle-a": ["a1-client", "b0-nbench"], "hard-a": ["n0-redis", "a0-apache"]}
cases = []
for name, vms in VMS.items():
    table = pd.read_csv(f"{sys.argv[1]}/{name}.csv.gz")
    t = table["t"].values
    grid = np.arange(np.ceil(t[0]), t[-1])  # whole seconds
    for vm in vms:
        ppm = np.rint(np.diff(np.interp(grid, t, table[vm].values)) / 1e3).astype(int)
        for start in (0, 247):
            x = ppm[start:start + 300]
            case = {"recording": name, "vm": vm, "start": start, "cpu_ppm": x.tolist()}
            for p in (2, 10, 45):
                phi, sigma = yule_walker(x.astype(float), p, method="mle", demean=True)
                case[f"yule_walker_{p}"] = {"phi": phi.tolist(), "sigma": float(sigma)}
            for p in (2, 10):
                fit = AutoReg(x.astype(float), p).fit()
                case[f"autoreg_{p}"] = {"params": fit.params.tolist(), "sigma2": float(fit.sigma2)}
            case["innovations_10"] = [float(f"{e:.12g}") for e in fit.resid]
            cases.append(case)
print(json.dumps(cases).replace('}, {"recording"', '},\n{"recording"'))
