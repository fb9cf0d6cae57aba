"""What bench/mutate_kernels.py takes for a synchronisation, and what it makes of it."""

import pytest
from mutate_kernels import (
    all_sites,
    concerned,
    device_files,
    find_sites,
    launched,
    still_counts,
    summary,
    with_switches,
)
from simt import kernels

SOURCE = """\
// __syncthreads(); in a comment
#define BARRIER __syncthreads()
const char* text = "atomicAdd(a, b)";
__device__ void f(int* a) {
  __syncthreads();
  if (__syncthreads_or(a[0] > (1 + 2))) __syncwarp(kMask);
  __threadfence();
  atomicMin(a + g(1, 2),  // in two lines
            load_relaxed<int>(a));
  store_relaxed(a, 3); /* __threadfence_block(); */ my_atomicAdd(a, 1);
  __syncthreads();
}
"""


def test_finds_every_synchronisation_and_nothing_else():
    found = [(s.line, s.kind, s.called) for s in find_sites("x.cu", SOURCE)]
    assert found == [
        (5, "barrier", "__syncthreads"),
        (6, "vote", "__syncthreads_or"),
        (6, "barrier", "__syncwarp"),
        (7, "fence", "__threadfence"),
        (8, "atomic", "atomicMin"),
        (9, "relaxed", "load_relaxed<int>"),
        (10, "relaxed", "store_relaxed"),
        (11, "barrier", "__syncthreads"),
    ]


def test_keys_tell_equal_statements_apart():
    keys = [s.key for s in find_sites("x.cu", SOURCE)]
    assert len(set(keys)) == len(keys)
    assert keys[0] == "x.cu: __syncthreads() #1"
    assert keys[-1] == "x.cu: __syncthreads() #2"


def test_every_call_gets_a_switch_and_stays_on_its_line():
    sites = find_sites("x.cu", SOURCE)
    own = [f"is_mutant({site.number}) ?" for site in sites]
    assert len(set(own)) == len(own)
    changed = with_switches(SOURCE, sites).split("\n")
    read = f"({own[5]} plain_load(a) : load_relaxed<int>(a))"
    assert changed == [
        *SOURCE.split("\n")[:4],
        f"  ({own[0]} (void)0 : __syncthreads());",
        f"  if (({own[1]} static_cast<int>((a[0] > (1 + 2)) != 0) : "
        f"__syncthreads_or(a[0] > (1 + 2)))) ({own[2]} (void)0 : __syncwarp(kMask));",
        f"  ({own[3]} (void)0 : __threadfence());",
        f"  ({own[4]} plain_Min(a + g(1, 2), {read}) : atomicMin(a + g(1, 2), {read}))",
        ";",
        f"  ({own[6]} plain_store(a, 3) : store_relaxed(a, 3)); "
        "/* __threadfence_block(); */ my_atomicAdd(a, 1);",
        f"  ({own[7]} (void)0 : __syncthreads());",
        "}",
        "",
    ]


def test_every_site_concerns_operators_and_every_operator_has_a_launcher():
    known = kernels.OPERATORS
    assert set(launched(device_files(), known)) == set(known)
    for file in {site.file for site in all_sites()}:
        assert launched(concerned(file, known), known), file
    gradient = "cuda/src/deformable_gradient.cu"
    assert launched(concerned(gradient, known), known) == ["deformable_attention_backward"]


def result(fate, case="", state="s"):
    return {"fate": fate, "case": case, "state": state}


@pytest.mark.parametrize(
    ("stored", "counts"),
    [
        (None, False),
        (result("caught", "a-1"), True),
        (result("caught", "a-1", "before a change"), False),
        (result("caught", "a case that is gone"), False),
        (result("survived", "other cases"), False),
    ],
)
def test_a_result_counts_while_what_decided_it_is_there(stored, counts):
    assert still_counts(stored, "s", ["a-1", "a-2"]) == counts


def test_summary_counts_what_changes_something_and_names_survivors():
    fates = {"x.cu: a": "caught", "x.cu: b": "survived", "y.cu: c": "survived"}
    text = summary({k: {"fate": v} for k, v in fates.items()}, {"y.cu: c": "the loop ends there"})
    assert [line.split() for line in text.splitlines()[1:3]] == [
        ["x.cu", "2", "1", "0"],
        ["y.cu", "1", "0", "1"],
    ]
    assert text.splitlines()[3:] == [
        "caught 1 of 2; 1 change nothing",
        "survived  x.cu: b: NOT EXPLAINED",
        "survived  y.cu: c: the loop ends there",
    ]
