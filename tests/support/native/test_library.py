"""The compiled library where it is broken, of other sources, or not there."""

import pytest

from altmarl_torch.support.native import library as native


@pytest.mark.parametrize("content", [b"", b"no library"])
def test_a_library_that_cannot_be_used_is_passed_over_with_a_word(tmp_path, monkeypatch, caplog, content):
    broken = tmp_path / ("_compiled" + native.importlib.machinery.EXTENSION_SUFFIXES[0])
    broken.write_bytes(content)
    monkeypatch.setattr(native, "__file__", str(tmp_path / "library.py"))
    assert native.library.__wrapped__() is None
    assert "cannot be used" in caplog.text


def test_where_nothing_was_built_the_log_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(native, "__file__", str(tmp_path / "library.py"))
    with caplog.at_level("INFO", logger="altmarl_torch"):
        assert native.library.__wrapped__() is None
    assert "not built" in caplog.text


@pytest.mark.skipif(native.library() is None, reason="not built: python setup.py build_ext --inplace")
def test_another_interface_is_left_alone(monkeypatch, caplog):
    monkeypatch.setattr(native, "INTERFACE", native.INTERFACE + 1)
    assert native.library.__wrapped__() is None
    assert "other sources" in caplog.text
