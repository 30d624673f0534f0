"""The text of ``Compiled.explain()``: what the recorded programs do, instruction by instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._kernels import current_isa

if TYPE_CHECKING:
    from .compiling import Compiled, Recording


def _count(n: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n:.0f} "


def _program(number: int, recording: Recording) -> list[str]:
    program: Any = recording.program
    steps = program.listing()
    captured, arena = program.bytes()
    work = sum(c["operations"] for s in steps for c in s["calls"])
    moved = sum(c["bytes"] for s in steps for c in s["calls"])
    lines = [
        f"program {number} for ({', '.join(recording.arguments)}), {recording.replays} replays",
        f"  recorded for: {recording.why}",
        f"  {program.calls()} calls in {program.steps()} steps, {_count(work)}flop, {_count(moved)}B moved, "
        f"temporaries {_count(arena)}B ({_count(captured)}B when captured)",
    ]
    for i, step in enumerate(steps):
        calls = step["calls"]
        fused = step["what"] if step["what"] != "call" else ""
        if len(calls) > 1:
            lines.append(f"  {i:3}  {fused} of {len(calls)} calls, one step:")
        for call in calls:
            head = "       . " if len(calls) > 1 else f"  {i:3}  "
            kernel = f"{call['op']} [{current_isa()}]"
            lines.append(
                f"{head}{kernel:24} {_count(call['operations']):>8}flop {_count(call['bytes']):>8}B  "
                f"{', '.join(call['inputs'])} -> {', '.join(call['outputs']) or 'a check'}"
            )
    lines.append("  checked before each replay:")
    lines += [f"    {guard}" for guard in recording.guards]
    return lines


def explain(compiled: Compiled) -> str:
    """One block of lines per program; see ``Compiled.explain``."""
    lines = [repr(compiled)]
    for number, recording in enumerate(compiled.programs):
        lines += ["", *_program(number, recording)]
    if compiled.misses:
        lines += ["", "calls that found no program, and why:", *[f"  {reason}" for reason in compiled.misses]]
    return "\n".join(lines)
