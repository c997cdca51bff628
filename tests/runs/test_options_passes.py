"""How the passes of the network are run; each test fails if the setting is ignored."""

from __future__ import annotations

from pathlib import Path

import pytest
from option_runs import Options, covers
from rank_runs import differences, trained
from stop_at import StopAt

from onelook.errors import SettingsError, StopRequested
from onelook.recipes.train import train


@covers("train", "compile")
def test_a_run_that_cannot_compile_ends_before_it_begins(
    tiny_settings: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import config as inductor  # two seconds, for this test alone

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    with (
        inductor.patch({"cpp.cxx": ("/nowhere/g++",)}),
        pytest.raises(SettingsError, match=r"setting `compile` needs a C\+\+ compiler, such as g\+\+") as caught,
    ):
        train({**tiny_settings, "compile": True, "project": tmp_path / "runs"})
    assert "/nowhere/g++" in caught.value.message
    assert not (tmp_path / "runs").exists()


@covers("train", "capture")
def test_cuda_graphs_need_a_gpu(tiny_settings: Options) -> None:
    with pytest.raises(SettingsError, match=r"`capture` records CUDA graphs, .* of this run, cpu, does not have"):
        train({**tiny_settings, "capture": True})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"compile": True, "capture": True}, "`compile` and `capture` cannot be used together"),
        ({"compile": True, "sync_bn": True}, "`sync_bn` cannot be used with `compile` or `capture`"),
        ({"capture": True, "sync_bn": True}, "`sync_bn` cannot be used with `compile` or `capture`"),
    ],
)
def test_what_cannot_be_done_together_is_refused(tiny_settings: Options, given: Options, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        train({**tiny_settings, **given})


@pytest.mark.slow
def test_a_compiled_run_gives_its_bits_again_after_a_resume_and_in_two_processes(
    tiny_settings: Options, tmp_path: Path
) -> None:
    given = {**tiny_settings, "compile": True, "multi_scale": True, "batch_size": 6, "micro_batch": 3}
    whole = trained(1, given, tmp_path / "whole")
    plain = trained(1, {**given, "compile": False}, tmp_path / "plain")
    assert differences(whole, plain), "compiled code rounds in other places"
    with pytest.raises(StopRequested):
        train({**given, "project": tmp_path / "stopped"}, callbacks=[StopAt(5)])
    resumed = train({"resume": str(tmp_path / "stopped" / "exp")}).run_folder
    assert differences(whole, resumed) == []
    assert differences(whole, trained(2, {**given, "micro_batch": 0}, tmp_path / "two")) == []
