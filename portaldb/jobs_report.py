"""The registry of jobs for a person to read."""

from portaldb import jobs, report


def show(found: list[jobs.Job], where: str) -> None:
    """Print it, one row a job, and below it what the last runs had to say."""
    out = report.console()
    rows = []
    for job in found:
        following = job.following
        last = "never" if job.last_started_at is None else f"{jobs.ago(job.last_started_at, job.now)} ago"
        if not job.is_active:
            when = "not active"
        elif following is None:
            when = "its schedule cannot be read"
        else:
            when = f"in {jobs.ago(following, job.now)}" + (", due" if job.due else "")
        seconds = "" if job.last_seconds is None else f"{job.last_seconds:.1f} s"
        affected = "" if job.last_affected is None else f"{job.last_affected:,}"
        rows.append(
            (job.name, job.schedule, last, job.last_result or "", seconds, affected, job.last_runner or "", when)
        )
    headings = ("job", "schedule", "last run", "result", "took", "affected", "run by", "next")
    out.print(f"{where}: {len(found)} jobs, by GMT.")
    out.print(report.table(headings, rows, right=frozenset({"took", "affected"})))
    for job in found:
        if job.last_note:
            out.print(f"{job.name}: {job.last_note}")
