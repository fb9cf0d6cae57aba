"""The example for other people's training loops does what its page says."""

import importlib.util
from pathlib import Path

import torch

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "own_loop.py"


def _example():
    spec = importlib.util.spec_from_file_location("own_loop", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _added():
    text = EXAMPLE.read_text(encoding="utf-8")
    return text.partition("# [added]\n")[2].partition("# [end]")[0].rstrip()


def test_the_page_shows_the_example():
    page = (DOCS / "own_loop.md").read_text(encoding="utf-8")
    assert f"```python\n{_added()}\n```\n" in page


def test_three_clicks_teach_the_classes_and_tell_the_discs_apart():
    classes, found, truth = _example().main()
    assert (classes == truth.clamp(max=1)).float().mean() > 0.98
    assert (found == truth).float().mean() > 0.98


def test_the_loss_is_what_spreads_the_clicks():
    example = _example()
    image, _, _, _ = example.scene()
    clicked = torch.full((1, 48, 48), -1)
    logits = torch.zeros(1, 2, 48, 48, requires_grad=True)
    flat = example.tree_loss(logits, image, clicked)
    noisy = example.tree_loss(torch.randn(1, 2, 48, 48), image, clicked)
    assert flat < 1e-5 < 0.1 < noisy
    example.tree_loss(logits + 0.1 * torch.randn(1, 2, 48, 48), image, clicked).backward()
    assert logits.grad.abs().sum() > 0


def test_every_click_gets_its_area():
    example = _example()
    logits = torch.zeros(1, 2, 32, 32)
    clicks = torch.tensor([[8 * 32 + 8, 24 * 32 + 24]])
    labels = example.share_out(logits, clicks, torch.tensor([[3.0, 1.0]]))
    share = (labels == 0).float().mean()
    assert abs(share - 0.75) < 0.03, share


def test_is_about_twenty_lines():
    lines = [line for line in _added().splitlines() if line.strip()]
    assert len(lines) <= 22, len(lines)
