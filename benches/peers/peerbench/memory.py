"""Memory of processes, as Linux counts it."""


def status_kib(field, process="self"):
    """`VmRSS` (held now) or `VmHWM` (most ever held), in KiB; None where the process has ended."""
    try:
        with open(f"/proc/{process}/status") as status:
            for line in status:
                if line.startswith(f"{field}:"):
                    return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


def resident_kib():
    return status_kib("VmRSS")
