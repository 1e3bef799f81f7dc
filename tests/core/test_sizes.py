import pytest

from pipeline.core.sizes import in_units


@pytest.mark.parametrize(
    ("num_bytes", "shown"),
    [
        (0, "0 B"), (28, "28 B"), (999, "999 B"), (1000, "1.0 kB"), (-4096, "-4.1 kB"), (999_949, "999.9 kB"),
        (999_950, "1.0 MB"), (5_200_000, "5.2 MB"), (999_950_000, "1.0 GB"), (1_204_000_000_000, "1,204.0 GB"),
    ],
)  # fmt: skip
def test_a_size_has_the_unit_that_shows_it(num_bytes: int, shown: str) -> None:
    assert in_units(num_bytes) == shown
