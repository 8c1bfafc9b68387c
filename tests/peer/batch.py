"""The peer of `lwt analyze --engine kmeans`: the same job by somebody who knows the Python libraries well.
Vectorised autocovariances, scipy's Levinson, scikit-learn's K-means with its 10 starts.

usage: batch.py TRACE.csv ORDER CLUSTERS    prints: seconds (without importing the libraries) and inertia"""
import sys, time
import numpy as np, pandas as pd
from scipy.linalg import solve_toeplitz
from sklearn.cluster import KMeans

path, order, clusters = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
start = time.time()
use = pd.read_csv(path).pivot(index="t", columns="vm", values="cpu").sort_index().values.T
centred = use - use.mean(1, keepdims=True)
n = use.shape[1]
spectrum = np.fft.rfft(centred, 2 * n)
lagged = np.fft.irfft(np.abs(spectrum) ** 2)[:, : order + 1] / n
models = np.array([solve_toeplitz(r[:order], r[1:]) for r in lagged])
found = KMeans(clusters, n_init=10, random_state=0).fit(models)
print(f"{time.time() - start:.3f} {found.inertia_:.4f}")
