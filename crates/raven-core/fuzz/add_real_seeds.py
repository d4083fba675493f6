"""Add seeds made of real frames to a corpus: `add_real_seeds.py FRAMES CORPUS` (folders; see scripts/fuzz.sh).

FRAMES holds `binance_*/*.ndjson`, one raw frame a line. Files are written into CORPUS/frame and CORPUS/snapshot.
"""

import sys
from pathlib import Path

LINES_PER_SEED = 4


def main(frames: Path, corpus: Path) -> int:
    """Write the seeds; return how many."""
    written = 0
    for source in sorted(frames.glob("binance_*/*.ndjson")):
        lines = source.read_bytes().splitlines()
        is_rest = "rest" in source.name
        # The first byte of a frame seed chooses the sequence rule and whether books are wanted.
        rule = 0 if "spot" in source.parent.name else 1
        for start in range(0, len(lines), LINES_PER_SEED):
            chunk = b"\n".join(lines[start : start + LINES_PER_SEED])
            name = f"real_{source.parent.name}_{source.stem}_{start}"
            target = corpus / ("snapshot" if is_rest else "frame") / name
            target.write_bytes(chunk if is_rest else bytes([rule]) + chunk)
            written += 1
    return written


if __name__ == "__main__":
    count = main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write(f"{count} seeds of real frames\n")
    sys.exit(0 if count else 1)
