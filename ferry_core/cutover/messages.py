"""Messages about a source that stays locked: which one, until when, and the statement that unlocks it."""

CHECK_FIRST = "after making sure that applications do not write to the target"


def ambiguous(why: str, by_hand: str, *, stays: bool = True) -> str:
    """The record of the cutover was sent and its outcome is unknown. ``stays``: the lock outlives the run."""
    if not stays:
        return (
            f"the record of the cutover was sent to the target, and its answer is not known ({why}). The tables on the "
            "source are locked only as long as this run lives, and if the cutover was recorded, what is written there "
            "after that is on no target: keep applications from both servers, bring the target back and start the "
            f"Ferry again; it checks by itself. To allow writes on the source before, {CHECK_FIRST}: {by_hand}"
        )
    return (
        f"the record of the cutover was sent to the target, and its answer is not known ({why}). Writes on the source "
        "stay blocked until the target answers: bring it back and start the Ferry again; it checks by itself. Or check "
        "yourself: if the Ferry's row in mysql_ferry.lease on the target has phase Completed, the target is live; if "
        f"not, allow writes on {by_hand}"
    )


def locked(why: str, by_hand: str) -> str:
    """An attempt has failed and the source cannot be unlocked at the moment."""
    return (
        f"writes on the source may still be blocked, and cannot be allowed again now: {why}. Once both servers "
        f"answer, this run allows them, or the next start of the Ferry, or `ferry abort`. To allow writes by hand, "
        f"{CHECK_FIRST}, on {by_hand}"
    )


def record_lost(why: str, by_hand: str, *, stays: bool = True) -> str:
    """The target has the record of the cutover no more; it was not reported to anybody. ``stays``: as ``ambiguous``."""
    if not stays:
        return (
            f"the target recorded the cutover and has lost that record again ({why}). The cutover is not reported as "
            "done. The tables on the source are locked only as long as this run lives: keep applications from both "
            "servers, bring back the target as it was at the cutover, and start the Ferry again. To allow writes on "
            f"the source before, {CHECK_FIRST}: {by_hand}"
        )
    return (
        f"the target recorded the cutover and has lost that record again ({why}). The cutover is not reported as done, "
        f"and writes on the source stay blocked. Bring back the target as it was at the cutover, and start the Ferry "
        f"again; or, {CHECK_FIRST}, allow writes on {by_hand}, and start the Ferry again"
    )
