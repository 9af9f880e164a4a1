"""Who was served, by the logs of the SIPp scenarios: every caller talks to an agent exactly once.

usage: ledger.py WORK CALLERS --open                            exit code 0 while promised calls are open
       ledger.py WORK CALLERS GONE_S ALL_S CPU_S MEMORY_MIB     the table; exit code 1 when it does not add up

A server whose log is in WORK tells more: a key that it did not hear is not a promise that it broke.
"""
import collections
import glob
import re
import sys

work, callers = sys.argv[1], int(sys.argv[2])


def moments(log, word):
    """When each number stands behind the word in a log, in seconds."""
    found = collections.defaultdict(list)
    try:
        lines = open(f"{work}/{log}.log", errors="replace").read().splitlines()
    except FileNotFoundError:
        return found
    for line in lines:
        told = re.match(rf"{word}\D*(\d+).*\s(\d+\.\d+)$", line)
        if told:
            found[told[1]].append(float(told[2]))
    return found


served = {**moments("waiting", "served"), **moments("asking", "served")}
promised = moments("asking", "promised")
talked = moments("agents", "talked")
reached = moments("customers", "reached")
# Whom an agent took in the very moment in which he hung up has been served, and is owed nothing; unless the agent came
# just too late, and the server called back with the agent on the line: then one talk to an agent is all there was.
taken = {
    number for number, at in promised.items()
    if any(talk < at[0] + 0.1 for talk in talked[number]) and (len(talked[number]) > 1 or not reached[number])
}
open_calls = [number for number in promised if number not in taken and not reached[number]]
if sys.argv[3] == "--open":
    sys.exit(0 if open_calls else 1)

gone, done, cpu, memory = sys.argv[3:]


def quantiles(name, rtd):
    """Median and 99th percentile of a response time of SIPp, in milliseconds."""
    times = []
    for path in glob.glob(f"{work}/{name}_*_rtt.csv"):
        for line in open(path).read().splitlines()[1:]:
            _, took, which = line.split(";")[:3]
            if which.strip() == rtd:
                times.append(float(took))
    times.sort()
    at = lambda share: times[min(len(times) - 1, int(len(times) * share))] if times else float("nan")
    return at(0.5), at(0.99)


answer, wait = quantiles("caller_*", "answer"), quantiles("caller_*", "served")
rows = [
    ("callers", f"{callers}"),
    ("answered after, p50 / p99", f"{answer[0]:.0f} / {answer[1]:.0f} ms"),
    ("served on the line", f"{len(served)}"),
    ("hung up while an agent took the call", f"{len(taken)}"),
    ("asked to be called back, and hung up", f"{len(promised) - len(taken)}"),
    ("  and called back", f"{sum(1 for number in promised if reached[number])}"),
    ("from the first key to the end of the talk, p50 / p99", f"{wait[0] / 1000:.1f} / {wait[1] / 1000:.1f} s"),
    ("agents' talks", f"{sum(map(len, talked.values()))}"),
    ("the last caller has gone after; all is done after", f"{gone} s; {done} s"),
    ("server: CPU; memory at most", f"{cpu} s; {memory} MiB"),
]
width = max(len(name) for name, _ in rows)
for name, value in rows:
    print(f"{name:{width}}  {value}")
wrong = []
lost = callers - len(served) - len(promised)
if lost:
    wrong.append(f"{lost} callers were neither served nor promised a call")
wrong += [f"{number} pressed the key, hung up, and was not reached" for number in open_calls]
try:
    written = len(set(re.findall(r"callback promised promise=(\d+)", open(f"{work}/server.log").read())))
    if written < len(promised) - len(taken):
        wrong.append(f"the server wrote {written} promises down: it did not hear every key")
except FileNotFoundError:
    pass
wrong += [f"{number} was called back {len(at)} times" for number, at in reached.items() if len(at) > 1]
wrong += [f"{number} was called back, and had been served" for number, at in reached.items() if at and (number in taken or number in served)]
wrong += [f"{number} was called back and did not ask" for number, at in reached.items() if at and number not in promised]
wrong += [f"{number} hears an agent that did not talk to him" for number in served if not talked[number]]
for line in wrong:
    print("wrong:", line)
sys.exit(1 if wrong else 0)
