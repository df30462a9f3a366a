"""Contexts from models of transformers, built small and read from folders as real ones are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from shapca.contexts.generators import hugging_face
from shapca.contexts.generators.generator import Answer, Request
from shapca.contexts.generators.hugging_face import HuggingFaceGenerator
from shapca.contexts.generators.opening import identify, open_generator
from shapca.contexts.generators.sampling import SeededSampler
from shapca.contexts.settings import GenerationSettings, seed_of
from shapca.errors import InputError
from tests.vision_language import WORDS, save_llava

NAMES = ("llava", "blip2", "qwen2_vl")
PROMPT = "the man on the street"
NUM_TOKENS = 6


def settings(folder: Path, **arguments: Any) -> GenerationSettings:
    plain = {"prompt": PROMPT, "max_new_tokens": NUM_TOKENS, "dtype": "float32", "device": "cpu"}
    return GenerationSettings(f"hf:{folder}", **{**plain, **arguments})


def requests(number: int, seed: int = 0) -> list[Request]:
    made = []
    for index in range(number):
        pixels = np.zeros((60, 30 + 10 * index, 3), dtype=np.uint8)
        pixels[:, :, index % 3] = 255  # a colour of its own,
        pixels[: 4 * index] = 255  # and a brighter top
        picture = Image.fromarray(pixels)
        made.append(Request(f"p{index}", b"", picture, seed_of(seed, str(index), 0)))
    return made


@pytest.fixture(scope="module")
def generators(vision_models: dict[str, Path]) -> dict[str, HuggingFaceGenerator]:
    return {name: HuggingFaceGenerator(settings(vision_models[name])) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_pictures_text_is_the_same_in_every_batch(
    generators: dict[str, HuggingFaceGenerator], name: str
) -> None:
    generator, asked = generators[name], requests(6)
    together = generator.answer(asked)
    alone = [generator.answer([request])[0] for request in asked]
    backwards = generator.answer(asked[::-1])[::-1]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert [answer.text for answer in together] == [answer.text for answer in backwards]
    assert [answer.tokens for answer in together] == [answer.tokens for answer in alone]
    assert [answer.prompt_tokens for answer in together] == [a.prompt_tokens for a in alone]
    assert len({answer.text for answer in together}) > 3
    other_seed = generator.answer(requests(6, seed=1))
    assert [answer.text for answer in other_seed] != [answer.text for answer in together]


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_is_what_was_written_and_nothing_else(
    generators: dict[str, HuggingFaceGenerator], name: str
) -> None:
    answers = generators[name].answer(requests(12))
    assert {answer.ended for answer in answers} == {True, False}  # ends early, or is cut
    for answer in answers:
        assert set(answer.text.split()) <= {*WORDS, "<s>"}
        assert PROMPT not in answer.text
        assert answer.tokens is not None
        assert answer.tokens == NUM_TOKENS or answer.ended
        assert len(answer.text.split()) <= answer.tokens
        assert answer.prompt_tokens is not None
        assert answer.prompt_tokens > len(PROMPT.split())


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_and_the_prompt_reach_the_model(
    generators: dict[str, HuggingFaceGenerator], name: str, vision_models: dict[str, Path]
) -> None:
    first = requests(6)
    num_texts = []
    for seed in range(6):  # of one seed, pictures alone can make a difference
        same_seed = [Request(r.image, b"", r.picture, seed) for r in first]
        num_texts.append(len({answer.text for answer in generators[name].answer(same_seed)}))
    assert max(num_texts) > 1
    other = HuggingFaceGenerator(settings(vision_models[name], prompt="a dog"))
    texts = [answer.text for answer in other.answer(first)]
    assert texts != [answer.text for answer in generators[name].answer(first)]


def test_greedy_takes_what_the_model_finds_likeliest(vision_models: dict[str, Path]) -> None:
    """The same as `generate` of transformers itself, for the same questions."""
    generator = HuggingFaceGenerator(settings(vision_models["llava"], temperature=0.0))
    asked = requests(3)
    answers = generator.answer(asked)
    inputs = generator._inputs(asked)
    with torch.inference_mode():
        written = generator._model.generate(**inputs, do_sample=False, max_new_tokens=NUM_TOKENS)
    plain = generator._tokenizer.batch_decode(
        written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    ends = generator._tokenizer.convert_ids_to_tokens([9, 10, 11, 12])
    for text, answer in zip(plain, answers, strict=True):
        kept = text.split()
        assert " ".join(kept[:-1] if kept and kept[-1] in ends else kept) == answer.text


def test_weights_in_bfloat16(vision_models: dict[str, Path]) -> None:
    generator = HuggingFaceGenerator(settings(vision_models["llava"], dtype="bfloat16"))
    assert generator._model.dtype == torch.bfloat16
    assert len(generator.answer(requests(2))) == 2


class TestSampler:
    def test_draws_from_the_models_distribution(self) -> None:
        """Frequencies over many seeds against the softmax, by a chi-square of 3 degrees."""
        scores = torch.tensor([0.0, 1.0, 2.0, -1.0, float("-inf")])
        num = 4000
        sampler = SeededSampler(list(range(num)), 0.5, 1, {99})
        sampler(torch.empty(0), scores.expand(num, -1))
        counts = np.bincount([tokens[0] for tokens, _ in sampler.texts()], minlength=5)
        expected = (scores / 0.5).softmax(0).numpy() * num
        assert counts[4] == 0
        chi_square = (((counts - expected) ** 2)[:4] / expected[:4]).sum()
        assert chi_square < 16.3  # exceeded once in 1,000 times, but the seeds are fixed

    def test_steps_of_a_row_are_independent_draws(self) -> None:
        sampler = SeededSampler([3], 1.0, 200, {99})
        for _ in range(200):
            sampler(torch.empty(0), torch.zeros(1, 4))
        ((tokens, ended),) = sampler.texts()
        assert not ended
        counts = np.bincount(tokens, minlength=4)
        assert counts.min() > 25

    def test_impossible_tokens_are_never_drawn_at_the_edges(self) -> None:
        sampler = SeededSampler([0, 1], 1.0, 1, ())
        sampler._numbers = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        low = float("-inf")
        chosen = sampler(torch.empty(0), torch.tensor([[low, 0.0, 0.0, low]] * 2))
        assert chosen.argmax(-1).tolist() == [1, 2]

    def test_what_comes_after_the_end_is_not_text(self) -> None:
        sampler = SeededSampler([0, 0], 0.0, 3, {2})
        for row in ([0.0, 5.0, 1.0], [0.0, 1.0, 5.0], [5.0, 1.0, 0.0]):
            sampler(torch.empty(0), torch.tensor([row, row[::-1]]))
        assert sampler.texts() == [([1], True), ([1, 0], True)]
        assert sampler.num_tokens == [2, 3]


class TestIdentity:
    def test_a_model_is_known_by_its_content(
        self, vision_models: dict[str, Path], tmp_path: Path
    ) -> None:
        copy = Path(shutil.copytree(vision_models["llava"], tmp_path / "copy"))
        first = identify(settings(vision_models["llava"]))
        assert identify(settings(copy)).model == first.model
        template = copy / "chat_template.jinja"
        template.write_text(template.read_text().replace("USER", "PERSON"))
        assert identify(settings(copy)).model != first.model

    def test_a_hubs_model_that_cannot_be_had(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(InputError, match=r"hf download llava-hf/llava-1.5-7b-hf --local-dir"):
            identify(GenerationSettings("hf:llava-hf/llava-1.5-7b-hf"))


class TestBadFolders:
    @pytest.fixture
    def folder(self, vision_models: dict[str, Path], tmp_path: Path) -> Path:
        return Path(shutil.copytree(vision_models["llava"], tmp_path / "model"))

    def test_nothing_of_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="expected the folder of a model saved by transf"):
            identify(settings(tmp_path))

    def test_pickled_weights_are_not_read(self, folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        with pytest.raises(InputError, match=r"expected model\.safetensors \(pickled"):
            identify(settings(folder))

    def test_a_model_of_text_alone(self, folder: Path) -> None:
        (folder / "config.json").write_text('{"model_type": "bert"}')
        with pytest.raises(InputError, match="'bert' does not describe pictures"):
            identify(settings(folder))

    def test_code_in_a_folder_is_not_run(self, folder: Path, tmp_path: Path) -> None:
        (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        tree = json.loads((folder / "config.json").read_text())
        tree |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
        (folder / "config.json").write_text(json.dumps(tree))
        with pytest.raises(InputError, match="no model that transformers knows"):
            identify(settings(folder))
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        "chosen",
        [
            {"attn_implementation": "stranger/kernel"},
            {"text_config": {"_attn_implementation": "stranger/kernel"}},
            {"use_kernels": True},
            {"quantization_config": {"quant_method": "fp8"}},
        ],
    )
    def test_no_code_of_a_hub_is_chosen(self, folder: Path, chosen: dict[str, Any]) -> None:
        tree = json.loads((folder / "config.json").read_text())
        for key, value in chosen.items():
            tree[key] = {**tree.get(key, {}), **value} if key == "text_config" else value
        (folder / "config.json").write_text(json.dumps(tree))
        with pytest.raises(InputError, match="code from a hub"):
            identify(settings(folder))

    def test_missing_weights_are_not_made_up(self, folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        name = next(name for name in state if "q_proj" in name)
        del state[name]
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InputError, match=r"1 weights missing or of another shape.*q_proj"):
            open_generator(settings(folder))

    def test_damaged_weights(self, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"damaged")
        with pytest.raises(InputError, match="cannot be loaded"):
            open_generator(settings(folder))

    def test_no_processor(self, folder: Path) -> None:
        for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()
        with pytest.raises(InputError, match=r"cannot be loaded|holds no processor"):
            open_generator(settings(folder))

    def test_no_such_device(self, folder: Path) -> None:
        with pytest.raises(InputError, match="--device: 'tpu9' is no device"):
            open_generator(settings(folder, device="tpu9"))

    def test_without_a_chat_template_the_prompt_must_place_the_picture(
        self, tmp_path: Path
    ) -> None:
        folder = save_llava(tmp_path / "old", chat_template=None)
        with pytest.raises(InputError, match="write <image> into it"):
            open_generator(settings(folder))
        answers = open_generator(settings(folder, prompt=f"<image> {PROMPT}")).answer(requests(2))
        assert all(isinstance(answer, Answer) and answer.tokens for answer in answers)


def test_a_models_own_sampling_is_not_used_unrecorded(
    vision_models: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(vision_models["llava"], tmp_path / "model"))
    file = folder / "generation_config.json"
    plain = HuggingFaceGenerator(settings(folder)).answer(requests(4))
    tree = json.loads(file.read_text())
    tree |= {"do_sample": True, "top_k": 1, "temperature": 0.1, "repetition_penalty": 50.0}
    file.write_text(json.dumps({**tree, "max_length": 5}))
    assert HuggingFaceGenerator(settings(folder)).answer(requests(4)) == plain
    assert hugging_face.fingerprint(str(folder)) != hugging_face.fingerprint(
        str(vision_models["llava"])
    )
