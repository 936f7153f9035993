"""What a server costs, read from /proc: the CPU time and the memory of its whole process tree.

CPU time per request is the figure to trust: requests per second also show whatever else the machine
was doing.
"""

import os

_TICK = 1 / os.sysconf("SC_CLK_TCK")
OWN_PAGES = ("Pss_Anon:", "Pss_Shmem:")


def process_tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for parent in found:
        found.extend(_children(parent))
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                children.extend(int(child) for child in file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return children


def cpu_seconds(pid: int) -> float:
    """Seconds on a CPU so far, user and system, of every process in the tree and of those it has reaped."""
    total = 0
    for member in process_tree(pid):
        try:
            with open(f"/proc/{member}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(field) for field in fields[11:15])  # utime stime cutime cstime
    return total * _TICK


def memory_bytes(pid: int) -> int:
    """The anonymous memory of the tree: a page that n processes share counts 1/n in each.

    Pages of files (program text) are left out: they are shared with every other server that runs.
    """
    total = 0
    for member in process_tree(pid):
        try:
            with open(f"/proc/{member}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith(OWN_PAGES))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total * 1024
