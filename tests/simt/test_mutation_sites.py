"""What bench/mutate_kernels.py takes for a synchronisation, and what it makes of it."""

import pytest
from mutate_kernels import find_sites, mutate, summary

SOURCE = """\
// __syncthreads(); in a comment
#define BARRIER __syncthreads()
const char* text = "atomicAdd(a, b)";
__device__ void f(int* a) {
  __syncthreads();
  if (__syncthreads_or(a[0] > (1 + 2))) __syncwarp(kMask);
  __threadfence();
  cuda::atomicMin(a + g(1, 2),
                  load_relaxed<int>(a));
  store_relaxed(a, 3); /* __threadfence_block(); */ my_atomicAdd(a, 1);
  __syncthreads();
}
"""


def test_finds_every_synchronisation_and_nothing_else():
    found = [(s.line, s.kind, s.replacement) for s in find_sites("x.cu", SOURCE)]
    assert found == [
        (5, "barrier", "(void)0"),
        (6, "vote", "static_cast<int>((a[0] > (1 + 2)) != 0)"),
        (6, "barrier", "(void)0"),
        (7, "fence", "(void)0"),
        (8, "atomic", "plain_Min(a + g(1, 2),\n                  load_relaxed<int>(a))"),
        (9, "relaxed", "plain_load(a)"),
        (10, "relaxed", "plain_store(a, 3)"),
        (11, "barrier", "(void)0"),
    ]


def test_keys_tell_equal_statements_apart():
    keys = [s.key for s in find_sites("x.cu", SOURCE)]
    assert len(set(keys)) == len(keys)
    assert keys[0] == "x.cu: __syncthreads() #1"
    assert keys[-1] == "x.cu: __syncthreads() #2"


@pytest.mark.parametrize("number", range(8))
def test_a_mutant_differs_in_one_place_and_keeps_its_lines(number):
    site = find_sites("x.cu", SOURCE)[number]
    changed = mutate(SOURCE, site).split("\n", 2)[2]
    assert changed[: site.begin] == SOURCE[: site.begin]
    assert changed.endswith(SOURCE[site.end :])
    assert changed.count("\n") == SOURCE.count("\n")


def test_summary_counts_what_changes_something_and_names_survivors():
    fates = {"a": "caught", "b": "survived", "c": "survived", "d": "not built"}
    text = summary({k: {"fate": v} for k, v in fates.items()}, {"c": "the loop ends there"})
    assert text.splitlines() == [
        "caught 1 of 2; 1 change nothing",
        "1 did not compile",
        "survived  b: NOT EXPLAINED",
        "survived  c: the loop ends there",
    ]
