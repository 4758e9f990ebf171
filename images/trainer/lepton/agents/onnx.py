"""ONNX: the greedy policy as one graph, from flattened observations to the environment's actions.

Torch has two exporters. The older one, which traces, takes 0.25 s and 25 MB where the newer one
takes 6 s and 225 MB, most of it for imports (torch 2.15, one core, a default network), at the end
of jobs that may have trained for less. So it goes first, with the warnings by which it tells that
a trace would not hold for all inputs made errors, and the newer one has what is left: modules with
control flow of their own, and versions of torch or Python that trace no more.
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn

import lepton
from lepton.agents.network import AgentNetwork
from lepton.environments.spaces import flat_size, space_from_json
from lepton.errors import ExportError

OPSET = 18
"""The operators of ONNX 1.13 (2022): what both exporters make without a conversion."""

_INPUT, _ACTION, _BATCH = "observation", "action", "n"
_DESCRIPTIONS = {
    _INPUT: "Observations, flattened as gymnasium.spaces.flatten does, (n, size).",
    _ACTION: "The greedy action, as the environment's action space has it.",
    "logits": "Unnormalised log probabilities of the choices, those of several one after another.",
    "mean": "Before scaling: -1 and 1 are the ends of a bounded range.",
    "mean_and_log_deviation": "Of the Gaussian before it is squashed, one after the other.",
    "action_values": "Expected discounted return of each action.",
}


class _GreedyPolicy(nn.Module):
    def __init__(self, network: AgentNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        actuator = self.network.actuator
        parameters = self.network.policy(observation)
        return actuator.in_space(actuator.mode(parameters)), parameters


def to_onnx(network: AgentNetwork, mark: str, header: Mapping[str, Any]) -> bytes:
    """The model as ONNX, with `header` as JSON in its metadata under the name `mark`.

    Input `observation`, float32 (n, size); outputs `action` and the numbers it was chosen by,
    called what the actuator calls them. Raises ExportError.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ExportError(f"ONNX needs package {error.name}: pip install {error.name}") from None
    size = flat_size(space_from_json(header["observationSpace"]))
    device = next(network.parameters()).device
    # Two rows: one would pass for a batch of fixed size.
    example = torch.zeros(2, size, device=device)
    outputs = [_ACTION, network.parameters_name]
    with _evaluating(network):
        graph = _export(_GreedyPolicy(network).eval(), example, outputs)
    model = onnx.load_model_from_string(graph)
    _forget_sources(model)
    model.producer_name, model.producer_version = mark, lepton.__version__
    model.graph.name = "greedy_policy"
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = _DESCRIPTIONS.get(value.name, "")
        value.type.tensor_type.shape.dim[0].dim_param = _BATCH
    onnx.helper.set_model_props(model, {mark: json.dumps(header)})
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _export(policy: nn.Module, example: Tensor, outputs: list[str]) -> bytes:
    try:
        with _quiet():
            return _trace(policy, example, outputs)
    except Exception:
        try:
            with _quiet():
                return _export_program(policy, example, outputs)
        except Exception as error:
            raise ExportError(f"this model can't be had as ONNX: {_reason(error)}") from error


def _trace(policy: nn.Module, example: Tensor, outputs: list[str]) -> bytes:
    buffer = io.BytesIO()
    torch.onnx.export(
        policy,
        (example,),
        buffer,  # type: ignore[arg-type]  # only the newer exporter needs a path
        dynamo=False,
        opset_version=OPSET,
        input_names=[_INPUT],
        output_names=outputs,
        dynamic_axes={name: {0: _BATCH} for name in (_INPUT, *outputs)},
    )
    return buffer.getvalue()


def _export_program(policy: nn.Module, example: Tensor, outputs: list[str]) -> bytes:
    # Exported here, since the exporter would try three ways, the last of which takes 15 s to fail.
    exported = torch.export.export(
        policy, (example,), dynamic_shapes=({0: torch.export.Dim(_BATCH)},), strict=False
    )
    program = torch.onnx.export(
        exported,
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=[_INPUT],
        output_names=outputs,
    )
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """What happens to modules within, such as `eval()`, is undone for each after it."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn, log and print for those who write exporters; here a doubtful trace is the
    only news, and an error."""
    before = logging.root.manager.disable
    nowhere = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def _forget_sources(part: Any) -> None:
    """Leave out where in whose files each operator comes from, in a protobuf and its parts."""
    for name in ("doc_string", "metadata_props"):
        if name in part.DESCRIPTOR.fields_by_name:
            part.ClearField(name)
    for field, value in part.ListFields():
        if field.message_type is not None:
            for inner in (value,) if hasattr(value, "DESCRIPTOR") else value:
                _forget_sources(inner)


def _reason(error: BaseException) -> str:
    """The first line of what was really wrong, beneath what the exporter says of itself."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
