#!/usr/bin/env python3
"""What a sample costs where. Reads what `perf script -F comm,ip,sym` prints; a moment counts for the innermost function that
belongs to a stage, and for the kernel's and the allocator's share with who called them.

usage: costs.py SAMPLES CPU_MS      samples that were read, and CPU time that was used, while perf looked"""
import re, sys

# The innermost first: a stage calls those that stand before it.
STAGES = [
    ("client", r"rd_kafka|rdkafka|rd_kbuf|ZSTD|LZ4"),
    ("decode", r"read_message|serde_json|intake|transport::names|transport::watermark|transport::wire"),
    ("window", r"window::|pipeline::windows"),
    ("model", r"model::|coupling::scores"),
    ("ensembles", r"cluster::|coupling::|coupled|dependencies::|differential|pairs|flow::(held|report|propose)"),
    ("exchange", r"timely"),
]


def stage(thread, functions):
    if thread.startswith("rdk:"):
        return "client"
    for function in functions:
        for name, pattern in STAGES:
            if re.search(pattern, function):
                return name
    return "other"


def main():
    samples, cpu_ms = map(int, sys.argv[1:])
    counts = {}
    for moment in sys.stdin.read().split("\n\n"):
        lines = [line.strip() for line in moment.strip().splitlines()]
        if lines:
            found = stage(lines[0], [line.split(None, 1)[-1] for line in lines[1:]])
            counts[found] = counts.get(found, 0) + 1
    every = sum(counts.values())
    print(f"{samples} samples in {cpu_ms / 1000:.1f} s of CPU, {every} moments; ns a sample:")
    for name, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"  {name:10} {cpu_ms * 1e6 / samples * count / every:6.0f}  {100 * count / every:4.1f} %")


main()
