"""One process of the benchmark with Numba: prepares functions, or brings them back and prints what it took."""
import importlib
import json
import os
import sys
import time

PER_MODULE = 100


def memory():
    found = {"Pss": 0, "Pss_File": 0}
    with open("/proc/self/smaps_rollup") as lines:
        for line in lines:
            name = line.split(":")[0]
            if name in found:
                found[name] = int(line.split()[1]) << 10
    return found


def function(number):
    module = importlib.import_module(f"part_{number // PER_MODULE}")
    return getattr(module, f"function_{number}")


def prepare(folder, count, seconds):
    # A process for each processor, as compiling is what takes long.
    processes = os.cpu_count() or 1
    children = []
    until = time.monotonic() + seconds
    for process in range(processes):
        child = os.fork()
        if child == 0:
            for number in range(process, count, processes):
                function(number)(3, 5)
                if time.monotonic() > until:
                    # How far this one got, at least so many are there.
                    with open(f"{folder}/stopped-{process}", "w") as file:
                        file.write(str(number))
                    os._exit(0)
            os._exit(0)
        children.append(child)
    there = count
    for process, child in enumerate(children):
        _, status = os.waitpid(child, 0)
        if status != 0:
            raise SystemExit("a process that compiles ended badly")
        stopped = f"{folder}/stopped-{process}"
        if os.path.exists(stopped):
            with open(stopped) as file:
                there = min(there, int(file.read()))
            os.remove(stopped)
    print(there)


def bring_back(count, seconds, began):
    # What a process that uses Numba has done before it calls anything.
    import numba  # noqa: F401

    setup = time.perf_counter_ns() - began
    samples, answers, stopped = [], [], None
    before = memory()
    cpu = time.process_time_ns()
    start = time.perf_counter_ns()
    for number in range(count):
        now = time.perf_counter_ns()
        found = function(number)
        answers.append(found(3, 5))
        if found.stats.cache_misses:
            stopped = "it was compiled anew"
            break
        samples.append(time.perf_counter_ns() - now)
        if time.perf_counter_ns() - start > seconds * 1e9:
            stopped = "limit"
            break
    wall = time.perf_counter_ns() - start
    cpu = time.process_time_ns() - cpu
    after = memory()
    outcome = {
        "setup_ns": setup,
        "samples": samples,
        "answers": [answer & 0xFFFF_FFFF_FFFF_FFFF for answer in answers],
        "wall_ns": wall,
        "cpu_ns": cpu,
        "memory": {
            "pss": max(0, after["Pss"] - before["Pss"]),
            "file": max(0, after["Pss_File"] - before["Pss_File"]),
        },
        "stopped": stopped,
    }
    print(json.dumps(outcome))


BEGAN = time.perf_counter_ns()
COMMAND, FOLDER, COUNT, SECONDS = sys.argv[1:5]
sys.path.insert(0, FOLDER)
if COMMAND == "prepare":
    prepare(FOLDER, int(COUNT), float(SECONDS))
else:
    bring_back(int(COUNT), float(SECONDS), BEGAN)
