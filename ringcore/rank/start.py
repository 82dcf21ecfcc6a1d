"""``python -m ringcore rank`` begins here: a process binds MLX to its BLAS when it loads MLX, not later."""

from ringcore.rank.blas import prefer_openblas


def main(arguments: list[str]) -> int:
    prefer_openblas()
    from ringcore.rank.command import main as run  # only now: this loads MLX

    return run(arguments)
