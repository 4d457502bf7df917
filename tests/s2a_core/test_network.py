"""No network is known in seconds, in words with what to do instead; files of the cache are used all the same."""

from __future__ import annotations

import http.server
import threading
import time

import pytest
from huggingface_hub import constants

from s2a_core import network
from s2a_core.errors import InvalidInput
from s2a_core.models import load_model

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


def test_an_error_is_an_answer_and_nobody_is_none() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)  # answers 501 to HEAD
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    assert network.is_reachable(f"http://127.0.0.1:{server.server_port}", 20.0)
    thread.join()
    server.server_close()
    assert not network.is_reachable(NOWHERE)


def test_an_address_that_never_answers_is_given_up_in_time() -> None:
    began = time.monotonic()
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as silent:  # never accepts
        assert not network.is_reachable(f"http://127.0.0.1:{silent.server_port}", 0.3)
    assert time.monotonic() - began < 5


def test_without_a_network_pretrained_weights_are_refused_at_once_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    words = r"no network: huggingface.*test_vit.*--weights FILE, or --weights none"
    with pytest.raises(InvalidInput, match=words):
        load_model("test_vit", "pretrained")
    assert constants.HF_HUB_OFFLINE is False
